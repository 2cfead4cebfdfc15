"""A daemon's TOML file: whatever is wrong with it is said with its line, and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.dks import daemon as dks_daemon
from agents.dks.config import DksConfig
from agents.lks import daemon as lks_daemon
from agents.lks.config import LksConfig
from agents.lks.config import read_config as lks
from agents.runtime.settings import ConfigError, Settings, read_settings

GOOD = 'name = "r1"\ndomain = "d"\nidentity = "i"\npolicy_server_key = "p"\nstate_dir = "s"\n'


def refusal(path: Path, text: str | bytes, model: type[Settings] = LksConfig) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as refused:
        read_settings(path, model)
    return str(refused.value)


def shifted(name: str) -> str:
    return name[0] + name[2] + name[1] + name[3:]


@pytest.mark.parametrize("model", [LksConfig, DksConfig])
def test_every_setting_that_is_misspelt_is_named_with_its_line_and_the_right_word(
    tmp_path: Path, model: type[Settings]
) -> None:
    for name in model.model_fields:
        for wrong in {shifted(name), name.upper(), name.replace("_", "-"), f"{name}s"} - {name}:
            said = refusal(tmp_path / "agent.toml", f"# of an agent\n\n{wrong} = 1\n", model)
            assert f"agent.toml:3: unknown setting {wrong!r}; did you mean {name!r}?\n  allowed: " in said
            assert f"setting {name!r} is missing" not in said  # that would be one mistake told twice


@pytest.mark.parametrize("model", [LksConfig, DksConfig])
def test_a_value_of_another_kind_is_shown_with_its_line_for_every_setting(
    tmp_path: Path, model: type[Settings]
) -> None:
    for name in model.model_fields:
        for value in ("[]", "{}", "1979-05-27", "1.5", f"[{'1, ' * 400}]"):
            said = refusal(tmp_path / "agent.toml", f"\n{name} = {value}\n", model)
            line = next(each for each in said.splitlines() if f"agent.toml:2: {name} is " in each)
            assert len(line) < 300 and f"{name} is " in said.split("  allowed: ")[0]


def test_the_place_of_what_is_no_toml_is_said(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    assert refusal(path, "a = 1\nb = = 2\n").startswith(f"{path}:2: Invalid value at column 5\n  allowed: TOML")
    assert refusal(path, "a = 1\nb = ").startswith(f"{path}:2: ")
    assert refusal(path, b"a = 1\n\n\xff").startswith(f"{path}:3: an octet that is not UTF-8")
    assert refusal(path, f"a = {'[' * 20_000}").startswith(str(path))
    assert refusal(tmp_path / "agent.toml", GOOD + "port = 1\nport = 2\n").startswith(f"{path}:7: ")


def test_a_file_that_is_not_there_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: No such file or directory\n  next:    ls -l .*--config FILE"):
        lks(tmp_path / "none.toml")


@pytest.mark.parametrize("value", ['""', '"\\u0000"', "7"])
def test_what_is_no_path_is_none(tmp_path: Path, value: str) -> None:
    said = refusal(tmp_path / "agent.toml", GOOD.replace('"i"', value))
    assert "agent.toml:3: identity is " in said and "allowed: a path in quotes" in said


@pytest.mark.parametrize("name", ["", "../r1", "r1/e0", "r 1", "-r1", "r" * 64, "r1\\n"])
def test_a_name_that_no_party_can_have_is_refused(tmp_path: Path, name: str) -> None:
    for setting, good in (("name", "r1"), ("domain", "d")):
        said = refusal(tmp_path / "agent.toml", GOOD.replace(f'{setting} = "{good}"', f'{setting} = "{name}"'))
        assert f"{setting} is " in said and "allowed: a name: up to 63 letters" in said


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://10.0.0.1", "in clear"), ("ftp://a", "https://HOST"), ("https://a/b", "https://HOST"),
        ("https://[::1", "Invalid IPv6"), ("https://a:99999", "out of range"), ("https://u:p@a", "more parts than"),
    ],
)  # fmt: skip
def test_an_address_of_a_policy_server_that_is_not_to_be_asked_is_bad_input(tmp_path: Path, url: str, why: str) -> None:
    text = f'{GOOD}documents = "d"\npolicy_token = "t"\npolicy_url = "{url}"\n'
    said = refusal(tmp_path / "agent.toml", text, DksConfig)
    assert f"agent.toml:8: policy_url is '{url}'" in said and why in said


def test_bounds_are_said_with_the_value(tmp_path: Path) -> None:
    for name, value, allowed in (("port", 0, "1 to 65535"), ("workers", 65, "1 to 64"), ("rate", -1, "1 to 1000000")):
        said = refusal(tmp_path / "agent.toml", f"{name} = {value}\n", DksConfig)
        assert f"agent.toml:1: {name} is {value}\n  allowed: {allowed}" in said


@pytest.mark.parametrize("program", [lks_daemon.main, dks_daemon.main])
def test_a_program_without_a_word_prints_its_help_and_starts_nothing(
    program: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        program([])
    shown = capsys.readouterr().err
    assert left.value.code == 2 and shown.startswith("usage: ") and "run " in shown and "status " in shown


def test_options_may_stand_before_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lks_daemon.main(["--config", str(tmp_path / "none.toml"), "status"]) == 2
    assert "none.toml: No such file" in capsys.readouterr().err
