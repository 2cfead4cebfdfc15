"""Alert rules and dashboard, tried by promtool with what the daemons' own cores show in a simulated laboratory."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.policy.api.metrics import PolicyCounts
from agents.policy.api.metrics import families as of_policy
from agents.policy.document import Lease, Reconnect
from agents.policy.domain import Settings
from agents.runtime.metrics import kernel, page
from testbed.simulation.network import Network, ring
from tests.unit.runtime.commissioned import commissioned

pytestmark = pytest.mark.guest

MONITORING = Path(__file__).resolve().parents[2] / "packaging" / "monitoring"
RULES = MONITORING / "alerts.yml"
STEP_S = 60
LEASE_S = 3600
SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")


def promtool(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False)


class Scraped:
    """What a Prometheus would have of a network: every node's page each minute, and `up`."""

    def __init__(self, *, dks: bool) -> None:
        visits = Reconnect(first_max_s=120, max_s=600)
        settings = Settings(validity_s=1 << 32, issuer="lks", lease=Lease(seconds=LEASE_S), reconnect=visits)
        self.network = Network(ring(3), settings=settings, dks=dks)
        self.network.power_on_all()
        assert self.network.run(5, self.network.all_keyed)
        self.series: dict[str, dict[int, float]] = defaultdict(dict)
        self.minute = 0

    def minutes(self, count: int) -> None:
        """So many scrapes."""
        for _ in range(count):
            for name, node in self.network.nodes.items():
                job = "dks" if name == "dks" else "lks"
                labels = f'instance="{name}",job="{job}"'
                self.series[f"up{{{labels}}}"][self.minute] = float(node.core is not None)
                if node.core is not None:
                    text = page(node.core.families(self.network.now))
                    for match in filter(None, map(SAMPLE.match, text.splitlines())):
                        own = f"{match['labels']}," if match["labels"] else ""
                        self.series[f"{match['name']}{{{own}{labels}}}"][self.minute] = float(match["value"])
            self.minute += 1
            self.network.run(self.network.now + STEP_S)

    def fires(self, folder: Path, expected: dict[int, dict[str, int]]) -> None:
        """That promtool sees these alerts firing at these minutes, each so many times, and no other."""
        values = {
            series: " ".join(str(found[at]) if at in found else "_" for at in range(self.minute))
            for series, found in self.series.items()
        }
        tests = {
            "rule_files": [str(RULES)],
            "evaluation_interval": "1m",
            "tests": [{
                "interval": "1m",
                "input_series": [{"series": series, "values": each} for series, each in values.items()],
                "promql_expr_test": [{
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{at}m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{name}"}}', "value": count} for name, count in alerts.items()
                    ],
                } for at, alerts in expected.items()],
            }],
        }  # fmt: skip
        (folder / "tests.yml").write_text(json.dumps(tests))  # JSON is YAML
        done = promtool("test", "rules", folder / "tests.yml")
        assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules_and_the_example() -> None:
    for words in (("check", "rules", RULES), ("check", "config", "--syntax-only", MONITORING / "prometheus.yml")):
        done = promtool(*words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_domain_in_which_all_is_well_has_no_alert_and_one_whose_router_died_two_kinds(tmp_path: Path) -> None:
    scraped = Scraped(dks=True)
    scraped.minutes(10)
    well = scraped.minute - 1
    scraped.network.power_off("r2")
    scraped.minutes(12)
    expected = {"RouterKeysDaemonDown": 1, "RouterKeysLinkUnkeyed": 2}
    scraped.fires(tmp_path, {well: {}, scraped.minute - 1: expected})


def test_leases_run_down_and_end_where_no_dks_is_reached(tmp_path: Path) -> None:
    scraped = Scraped(dks=False)
    scraped.minutes(50)
    low = scraped.minute - 1
    scraped.minutes(15)
    over = {"RouterKeysLeaseRunsDown": 3, "RouterKeysLeaseOver": 3}
    scraped.fires(tmp_path, {40: {}, low: {"RouterKeysLeaseRunsDown": 3}, scraped.minute - 1: over})


PAGES: dict[str, Callable[[Path], str]] = {
    "lks": lambda _folder: page([*_core("r1").families(1.0), *kernel("lks")]),
    "dks": lambda _folder: page(_core("dks").families(1.0)),
    "policy": lambda folder: page(of_policy(folder / "store", _asked())),
}


def _asked() -> PolicyCounts:
    counts = PolicyCounts()
    counts.answered("GET", 401, 0.25)
    return counts


def _core(name: str):  # type: ignore[no-untyped-def]
    network = Network(ring(3), settings=Settings(validity_s=1 << 32), dks=True)
    network.power_on_all()
    network.run(2)
    return network.nodes[name].core


def test_every_name_in_rules_and_dashboard_is_one_that_a_daemon_shows_and_promtool_likes_the_pages(
    tmp_path: Path,
) -> None:
    commissioned(tmp_path)
    known = {"up"}
    for name, made in PAGES.items():
        text = made(tmp_path)
        known |= set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
        linted = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert linted.returncode == 0, (name, linted.stdout + linted.stderr)
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for text in [*asked, RULES.read_text()]:
        named = set(re.findall(r"\b(?:lks|dks|policy)_[a-z_]+\b", re.sub(r'__name__=~"[^"]*"', "", text)))
        assert named <= known, named - known
    (tmp_path / "asked.yml").write_text(
        json.dumps({"groups": [{"name": "d", "rules": [{"record": f"d:{n}", "expr": e} for n, e in enumerate(asked)]}]})
    )
    done = promtool("check", "rules", tmp_path / "asked.yml")
    assert done.returncode == 0, done.stdout + done.stderr
