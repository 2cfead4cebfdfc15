"""Five hundred and more drawn command lines and files: no traceback, no exit code that means nothing, nothing left.

Drawn by a fixed seed: what fails here fails everywhere. What a draw finds is repaired with its kind, and gets a row in
the table (golden.py) where it can have one.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.results.made import only
from tests.unit.typed import draws, house
from tests.unit.typed.desk import laid, lay
from tests.unit.typed.test_table import EVERY


def drawn(count: int) -> Any:
    """So many draws, the same each time."""
    return settings(
        max_examples=count, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=True,
    )  # fmt: skip


def tell(root: Path, words: Sequence[str], files: dict[str, bytes] | None = None) -> house.Done:
    """Type the words, with these files on the desk, and look at what came of it."""
    with laid(root) as at:
        for name, content in (files or {}).items():
            house.changed.add(str(at / name))
            (at / name).write_bytes(content)
        with house.shut(root):
            done = house.typed(words[0], words[1:])
    wrong = house.well_said(words[0], done)
    assert not wrong, f"{shlex.join(words)}: {wrong}\n{done.out[-2000:]}\n{done.err[-2000:]}"
    assert house.refused == [], f"{shlex.join(words)}: {house.refused}"
    return done


def test_the_files_that_are_bent_are_good_before(root: Path) -> None:
    files = {"t.yaml": draws.TOPOLOGY, "s.yaml": draws.SWEEP, "mine.py": draws.EXPERIMENT}
    written = {name: text.encode() for name, text in files.items()}
    for words, code in (("validate t.yaml", 0), ("sweep s.yaml --dry-run", 0), ("run mine.py --seed 1", 3)):
        assert tell(root, ["lab", *words.split()], written).code == code, words


@drawn(220)
@given(words=draws.lines_of(EVERY))
def test_command_lines(root: Path, words: list[str]) -> None:
    tell(root, words)


@drawn(70)
@given(
    file=draws.lines(draws.TOPOLOGY),
    verb=st.sampled_from(("validate", "validate --json", "topology show", "up", "run link_cut --topology")),
)
def test_topologies(root: Path, file: bytes, verb: str) -> None:
    tell(root, ["lab", *verb.split(), "t.yaml"], {"t.yaml": file})


@drawn(40)
@given(file=draws.lines(draws.SWEEP), dry=st.booleans())
def test_sweeps(root: Path, file: bytes, dry: bool) -> None:
    tell(root, ["lab", "sweep", "s.yaml", *(["--dry-run"] if dry else [])], {"s.yaml": file})


@drawn(30)
@given(file=draws.lines(draws.EXPERIMENT))
def test_experiments(root: Path, file: bytes) -> None:
    tell(root, ["lab", "run", "mine.py", "--seed", "1"], {"mine.py": file})


RESULT_VERBS = (
    "report results", "report results", "compare results half", "compare half results", "replay results",
    "calibrate results", "reproduce --results .", "replay results/runs/RUN", "report results/runs/RUN",
)  # fmt: skip


@drawn(60)
@given(data=st.data())
def test_results(root: Path, data: st.DataObject) -> None:
    at = lay(root)
    run = only(at / "results", "lks", 1).relative_to(at)
    name = data.draw(
        st.sampled_from(
            ["results/summary.json", *(f"{run}/{each}.json" for each in ("plan", "outcome", "origin", "manifest"))]
        )
    )
    whole = at / name
    file = data.draw(st.one_of(draws.document(whole.read_text()), draws.octets(whole.read_bytes())))
    verb = data.draw(st.sampled_from(RESULT_VERBS)).replace("RUN", run.name)
    tell(root, ["lab", *verb.split()], {name: file})


@drawn(40)
@given(data=st.data())
def test_records(root: Path, data: st.DataObject) -> None:
    at = lay(root)
    path = only(at / "results", "lks", 1) / "record.jsonl"
    rows = path.read_text().splitlines()
    number = data.draw(st.integers(0, len(rows) - 1))
    bent = data.draw(st.one_of(draws.document(rows[number]), draws.octets(rows[number].encode())))
    rows[number] = bent.replace(b"\n", b" ").decode("utf-8", "replace")
    verb = data.draw(st.sampled_from(("report results", "calibrate results", "replay results")))
    tell(root, ["lab", *verb.split()], {str(path.relative_to(at)): ("\n".join(rows) + "\n").encode()})


@drawn(40)
@given(data=st.data(), as_json=st.booleans())
def test_captures_and_keys(root: Path, data: st.DataObject, as_json: bool) -> None:
    at = lay(root)
    files = {name: data.draw(draws.octets((at / name).read_bytes())) for name in ("cut.pcap", "keys")}
    tell(root, ["lab", "decode", "cut.pcap", "--keys", "keys", *(["--json"] if as_json else [])], files)


POLICY_VERBS = (
    "history", "diff", "commit -m x --who y", "export out", "verify", "router remove r1 --explain", "admin list",
    "token list", "deploy plan", "deploy status", "router add r3 --key r1.pub", "router approve r1 --key r1.pub",
    "rollback 1", "init home --dks-key r1.pub --dks-address 10.0.0.1", "verify octets --key r1.pub",
)  # fmt: skip


@drawn(50)
@given(data=st.data(), verb=st.sampled_from(POLICY_VERBS), name=st.sampled_from(("store/policy.db", "r1.pub")))
def test_policies(root: Path, data: st.DataObject, verb: str, name: str) -> None:
    at = lay(root)
    tell(root, ["policy", "--store", "store", *verb.split()], {name: data.draw(draws.octets((at / name).read_bytes()))})


@drawn(40)
@given(file=draws.lines(draws.TOML), program=st.sampled_from(("dks", "lks")), verb=st.sampled_from(("run", "status")))
def test_configurations(root: Path, file: bytes, program: str, verb: str) -> None:
    tell(root, [program, verb, "--config", "agent.toml"], {"agent.toml": file})
