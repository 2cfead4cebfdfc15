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

import yaml

from tests.laboratory.booted.machines import prepare
from tests.laboratory.booted.story import PACKAGES, RUN, Story

ROLE = Path("/lab/project/packaging/ansible")
PLUGINS = Path("/lab/project/tests/laboratory/booted/connection_plugins")
WORK = Path("/tmp/ansible")
TOTALS = re.compile(r"^(\w+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


def inventory() -> dict[str, Any]:
    """The example of the role, whose Policy Server and DKS are one machine here, and whose link begins `required`."""
    hosts: dict[str, Any] = yaml.safe_load((ROLE / "inventory.example.yml").read_text())
    hosts["all"]["children"]["policy_server"]["hosts"] = {"dks": {}}
    hosts["all"]["vars"] |= {
        "ansible_connection": "machine",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "router_keys_packages": str(PACKAGES / "new"),
        "router_keys_mode": "required",
        "router_keys_settings": ["lease 60d --at-end close"],
    }
    return hosts


def played(story: Story) -> dict[str, Any]:
    """Run the playbook; its exit code, the totals of each machine, and the end of what it printed."""
    WORK.mkdir(exist_ok=True)
    hosts = WORK / "inventory.json"
    hosts.write_text(json.dumps(inventory()))
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
        seen["first"] = played(story)
        story.wait_full()
        seen["status"] = [json.loads(each.run("lks status --json")) for each in story.routers]
        seen["sent"] = story.r1.run("ip xfrm state")
        seen["again"] = played(story)
        story.r2.run("rm /etc/router-keys/identity.pem")
        seen["other key"] = played(story)
    finally:
        (RUN / "inventory.json").write_text(json.dumps(seen, indent=1))


if __name__ == "__main__":
    told()
