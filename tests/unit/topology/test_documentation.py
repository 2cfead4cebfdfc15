"""The page about topologies says what is true: its example loads, and it names every key there is."""

from __future__ import annotations

import re
from pathlib import Path

from testbed.topology.load import load
from testbed.topology.source import TopologySource

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "topologies.md").read_text()


def test_the_example_is_a_topology(tmp_path: Path) -> None:
    (example,) = re.findall(r"<!-- tested: mine.yaml -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(example)
    topology = load(str(tmp_path / "mine.yaml"))
    assert list(topology.routers) == ["paris", "rome", "vienna", "berlin"]
    assert topology.dks.router == "vienna"


def test_the_table_names_every_key_of_a_file() -> None:
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE))))
    assert set(TopologySource.model_fields) <= named
