"""A laboratory without a terminal: its prompt, shells, FRR's shell and captures in pipes. One boot for most of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from testbed.probes.pcap import read_frames
from testbed.probes.pcapng import MAGIC
from testbed.setup import kernel, tree
from testbed.setup.paths import PROJECT, cache_dir
from tests.unit.view.conftest import browser, page

__all__ = ["browser", "page"]

pytestmark = pytest.mark.skipif(
    not (kernel.kernel().ready and tree.tree().ready), reason="./lab setup has not made the guest yet"
)
NAME = f"test-up-{os.getpid()}"
LAB = [sys.executable, "-m", "testbed.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm-256color"}


RING = """\
links: [r1-r2, r2-r3, r3-r4, r4-r1]
hosts: {desk-of-a.colleague: {on: r1}}
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A laboratory that is up, its prompt's lines written to one pipe and read from another; its page's address."""
    topology = tmp_path_factory.mktemp("topology") / "ring.yaml"
    topology.write_text(RING)
    up = subprocess.Popen(
        [*LAB, "up", topology, "--keying", "lks", "--name", NAME, "-o", "mode=clear", "--view"],
        env=ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert up.stderr is not None
        told = up.stderr.readline()
        found = re.fullmatch(r"open (http://127\.0\.0\.1:\d+/) in a browser: it shows what runs\n", told)
        assert found is not None, told
        yield up, found.group(1)
    finally:
        subprocess.run([*LAB, "down", "--lab", NAME], env=ENVIRONMENT, capture_output=True, check=False)
        up.kill()
        up.communicate()


@pytest.fixture(scope="module")
def prompt(seen: tuple[subprocess.Popen[str], str]) -> subprocess.Popen[str]:
    return seen[0]


def typed(up: subprocess.Popen[str], lines: str) -> str:
    """What the prompt says to these lines."""
    assert up.stdin is not None and up.stdout is not None
    up.stdin.write(f"{lines}\nsh echo that was all\n")
    up.stdin.flush()
    said = ""
    while not said.endswith("that was all\n"):
        line = up.stdout.readline()
        assert line, said
        said += line
    assert "\x1b" not in said and "\r" not in said and "mininet>" not in said
    return said.removesuffix("that was all\n")


def lab(verb: str, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*LAB, verb, "--lab", NAME, *words]
    return subprocess.run(command, env=ENVIRONMENT, input=given, capture_output=True, check=False)


def test_lines_of_a_script_run_in_their_turn(prompt: subprocess.Popen[str]) -> None:
    said = typed(prompt, "r1 ping -c1 r2\nsh echo done")
    assert "1 packets transmitted, 1 received" in said
    assert said.endswith("done\n")


def test_a_name_with_hyphens_and_dots_is_typed_and_captured_as_any_other(prompt: subprocess.Popen[str]) -> None:
    said = typed(prompt, "desk-of-a.colleague hostname\nr1 ping -c1 desk-of-a.colleague\nlinks")
    assert said.startswith("desk-of-a.colleague\n")
    assert "1 packets transmitted, 1 received" in said
    assert "desk-of-a.colleague-eth0<->r1--desk-of-a.colleague-1 OK" in said
    assert lab("shell", "desk-of-a.colleague", "--", "ip", "-br", "link", "show", "eth0").returncode == 0
    heard = lab("capture", "desk-of-a.colleague-eth0", "-c", "1")
    assert (heard.returncode, b"10.32.0.1" in heard.stdout) == (0, True)


def test_a_router_s_shell_knows_its_key_server_which_starts_in_the_mode_that_was_asked_for(
    prompt: subprocess.Popen[str],
) -> None:
    assert "clear: ospf, pim" in typed(prompt, "r1 lks status")
    told = lab("shell", "r1", given=b"lks status --json\nexit\n")
    assert json.loads(told.stdout)["router"] == "r1"


def test_a_line_that_fails_is_told_and_the_next_ones_run(prompt: subprocess.Popen[str]) -> None:
    lines = (
        "frobnicate", 'r1 echo "not closed', "r1 cat", "sh cat", "r1 exit", "py 1/0", "fault nope", "# a comment", "",
        "r1 sleep 100 &", "r1 X=5", "r1 echo $X  and more", "r1 ls --color=auto /dev/null",
    )  # fmt: skip
    said = typed(prompt, "\n".join(lines))
    assert "*** Unknown command: frobnicate\n" in said
    assert "there is no action 'nope'" in said
    assert said.endswith("5 and more\n/dev/null\n")


def test_much_output_comes_whole(prompt: subprocess.Popen[str]) -> None:
    assert typed(prompt, "r1 seq 20000") == "".join(f"{number}\n" for number in range(1, 20001))


@pytest.mark.usefixtures("prompt")
def test_lines_piped_into_a_routers_shells_are_commands() -> None:
    frr = lab("vtysh", "r1", given=b"show ip ospf neighbor\nshow version\n")
    assert frr.returncode == 0
    assert b"Neighbor ID" in frr.stdout and b"FRRouting 10" in frr.stdout
    assert b"\x1b" not in frr.stdout + frr.stderr
    shell = lab("shell", "r1", given=b"ip -br link\necho wrong >&2\nexit 7\n")
    assert shell.returncode == 7
    assert b"r1-eth0" in shell.stdout and shell.stderr == b"wrong\n"
    assert b"\x1b" not in shell.stdout
    assert lab("shell", "r1").returncode == 0


@pytest.mark.usefixtures("prompt")
def test_commands_as_arguments_give_their_output_and_exit_code() -> None:
    for words in (["show ip route"], ["show", "ip", "route"], ["-c", "show ip route"]):
        done = lab("vtysh", "r1", *words)
        assert (done.returncode, b"directly connected" in done.stdout) == (0, True)
    filtered = lab("shell", "r1", "--", "tail", "-1", given=b"a\n" * 100_000 + b"end\n")
    assert (filtered.returncode, filtered.stdout) == (0, b"end\n")
    unknown = lab("shell", "r1", "--", "no-such-program")
    assert unknown.returncode == 2
    assert b"no-such-program: cannot be started in r1: No such file or directory" in unknown.stderr


@pytest.mark.usefixtures("prompt")
def test_a_capture_to_standard_output_is_pcapng_and_nothing_else(tmp_path: Path) -> None:
    done = lab("capture", "r1--r2", "-w", "-", "-c", "2")
    assert (done.returncode, done.stdout[:4]) == (0, MAGIC)
    (tmp_path / "a").write_bytes(done.stdout)
    assert len(list(read_frames(tmp_path / "a"))) == 2
    wrong = lab("capture", "r1--r2", "-w", "-", "--", "icmp icmp")
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert b"filter expression" in wrong.stderr


@pytest.mark.usefixtures("prompt")
def test_a_capture_ends_when_its_reader_goes_and_at_an_interruption() -> None:
    words = [*LAB, "capture", "--lab", NAME, "r1--r2", "-w", "-"]
    for interrupted in (False, True):
        capture = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert capture.stdout is not None and capture.stderr is not None
        assert capture.stdout.read(4) == MAGIC
        if interrupted:
            capture.send_signal(signal.SIGINT)
            assert capture.stdout.read()
        else:
            capture.stdout.close()
        assert capture.stderr.read() == b""
        assert capture.wait() == (0 if interrupted else 141)


def test_two_browsers_see_what_happens_in_the_laboratory_as_it_happens(
    seen: tuple[subprocess.Popen[str], str], page: Page, browser: Browser
) -> None:
    prompt, address = seen
    pages = page, browser.new_page(viewport={"width": 390, "height": 844})
    for each in pages:
        each.goto(address)
        each.get_by_text("the cursor at the end moves on").wait_for()
        each.get_by_text("4 of 4 routers with power").wait_for()
    typed(prompt, "fault tap segment=r2--r3\nfault link_carrier_down segment=r1--r2\nfault power_off nodes=r4")
    for each in pages:
        each.get_by_text(re.compile("3 of 4 routers with power.* an intruder on r2--r3")).wait_for()
        assert each.locator(".glyph.intruded").all_text_contents() == ["◆"]
        each.locator(".way.dark").nth(1).wait_for(state="attached")
        assert "off" in str(each.locator("[aria-label='Router r4']").get_attribute("class"))
    typed(prompt, "fault power_on nodes=r4\nfault link_carrier_up segment=r1--r2")
    for each in pages:
        each.get_by_text("4 of 4 routers with power").wait_for()
    pages[1].close()


def test_a_second_laboratory_of_the_name_is_refused_and_the_end_of_the_input_ends_the_first(
    prompt: subprocess.Popen[str],
) -> None:
    second = subprocess.run(
        [*LAB, "up", "line:2", "--name", NAME],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert second.returncode == 2
    assert f"next:    lab down --lab {NAME}\n" in second.stderr
    out, err = prompt.communicate("exit\nsh echo not reached\n")
    assert (prompt.returncode, out) == (0, "")
    assert err.startswith("*** Starting 4 routers, keying lks\n") and "Traceback" not in err
    assert not (cache_dir() / "up" / NAME).exists()


def test_no_input_at_all_is_a_laboratory_that_ends_at_once() -> None:
    done = subprocess.run([*LAB, "up", "line:2"], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")


def test_an_interruption_ends_a_script_and_all_of_its_laboratory() -> None:
    up = subprocess.Popen(
        [*LAB, "up", "line:2", "--name", NAME],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert up.stderr is not None and up.stdout is not None
    assert up.stderr.readline() == b"*** Starting 2 routers, keying none\n"
    up.send_signal(signal.SIGINT)
    assert (up.stderr.read(), up.stdout.read()) == (b"lab: interrupted\n", b"")
    assert up.wait() == 130
    assert not (cache_dir() / "up" / NAME).exists()
