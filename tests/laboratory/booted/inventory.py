"""The Ansible role at three machines with systemd: a domain from an inventory, the same again, and another key.

Runs as root inside the guest. The packages are in /lab/run/packages/new. What was seen goes to /lab/run/inventory.json.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.laboratory.booted.machines import prepare
from tests.laboratory.booted.story import PACKAGES, RUN, Story

ROLE = Path("/lab/project/packaging/ansible")
PLUGINS = Path("/lab/project/tests/laboratory/booted/connection_plugins")
WORK = Path("/tmp/ansible")
TOTALS = re.compile(r"^(\w+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


def inventory(mode: str) -> dict[str, Any]:
    """Two routers on a link, and a machine that is Policy Server and DKS."""
    routers = {
        f"r{number}": {
            "router_keys_interfaces": [
                {"name": "e0", "address": f"10.0.0.{number}/24", "link_local": f"fe80::ff:fe00:{number}",
                 "protocols": ["ospf"]}
            ]
        }
        for number in (1, 2)
    }  # fmt: skip
    return {
        "all": {
            "vars": {
                "ansible_connection": "machine",
                "ansible_become": False,
                "ansible_python_interpreter": "/usr/bin/python3",
                "router_keys_domain": "example",
                "router_keys_packages": str(PACKAGES / "new"),
                "router_keys_dks_addresses": ["192.0.2.1"],
                "router_keys_adjacencies": [["r1:e0", "r2:e0"]],
                "router_keys_mode": mode,
                "router_keys_settings": ["lease 60d --at-end close"],
            },
            "children": {
                "policy_server": {"hosts": {"dks": {}}},
                "dks": {"hosts": {"dks": {}}},
                "routers": {"hosts": routers},
            },
        }
    }


def played(story: Story, mode: str) -> dict[str, Any]:
    """Run the playbook; its exit code, the totals of each machine, and the end of what it printed."""
    WORK.mkdir(exist_ok=True)
    hosts = WORK / "inventory.json"
    hosts.write_text(json.dumps(inventory(mode)))
    environment = {
        **os.environ,
        "MACHINES": json.dumps({each.name: each.pid for each in story.machines}),
        "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS),
        "ANSIBLE_HOME": str(WORK),
        "ANSIBLE_LOCAL_TEMP": str(WORK / "tmp"),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_GATHERING": "explicit",
    }
    words = ["python3", "-m", "ansible", "playbook", "-i", str(hosts), str(ROLE / "site.yml")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    totals = {name: dict(zip(("ok", "changed", "unreachable", "failed"), map(int, numbers), strict=True))
              for name, *numbers in TOTALS.findall(done.stdout)}  # fmt: skip
    return {"code": done.returncode, "totals": totals, "printed": (done.stdout + done.stderr)[-6000:]}


def told() -> None:
    """All of it."""
    prepare()
    story = Story()
    seen: dict[str, Any] = {}
    try:
        story.cable()
        for machine in story.machines:
            machine.boot()
        seen["first"] = played(story, "required")
        story.wait_full()
        seen["status"] = [json.loads(each.run("lks status --json")) for each in story.routers]
        seen["sent"] = story.r1.run("ip xfrm state")
        seen["again"] = played(story, "required")
        story.r2.run("rm /etc/router-keys/identity.pem")
        seen["other key"] = played(story, "required")
    finally:
        (RUN / "inventory.json").write_text(json.dumps(seen, indent=1))


if __name__ == "__main__":
    told()
