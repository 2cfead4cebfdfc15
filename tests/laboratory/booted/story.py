"""The page on installing, typed at three machines with systemd: from nothing to `required`, and what happens then.

Runs as root inside the guest. The packages are in /lab/run/packages: `old` and `new` where there is an older one, else
`new` alone. What was seen goes to /lab/run/story.json, by chapter, and the journals beside it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.laboratory.booted.machines import Machine, Port, prepare, ran

RUN = Path("/lab/run")
PACKAGES = RUN / "packages"
PAGE = Path("/lab/project/docs/install.md")
BLOCK = re.compile(r"<!-- (?P<where>on [^>]*?|copies) -->\n```\n(?P<text>.*?)```", re.DOTALL)
LINK, ACCESS = "br-link", "br-access"
"""The bridges: between the routers, and from r1 to the DKS."""
NETWORK = "[Match]\nName={}\n[Network]\n{}"
OSPF = """\
log syslog informational
!
router ospf
 ospf router-id {router_id}
 log-adjacency-changes detail
 network 10.0.0.0/24 area 0
{more}!
interface e1
 ip ospf passive
!
interface e0
 ip ospf network point-to-point
 ip ospf hello-interval 1
 ip ospf dead-interval 4
!
"""
DKS_NETWORK = " network 192.0.2.0/24 area 0\n"
UNKNOWN = "dks check --config /etc/router-keys/dks.toml\n"
"""What the older packages do wrong: their check takes root for who runs the DKS."""
FIREWALL = """\
nft -f - <<END
table inet filter {{
  chain input {{
    type filter hook input priority filter; policy accept;
    {rules}
  }}
}}
END
"""
"""The page's rules, in a chain as an administrator may have one."""
IN_CLEAR = "systemctl disable --now lks-ready lks; ip xfrm policy flush; ip xfrm state flush"
FULL_S = 90.0
QUIET_S = 6.0
"""Longer than the dead interval, and than the delays of a change of keys."""


class Story:
    """The machines and what was seen at them."""

    def __init__(self) -> None:
        self.r1 = Machine("r1", [Port("e0", 1, LINK), Port("e1", 17, ACCESS)])
        self.r2 = Machine("r2", [Port("e0", 2, LINK)])
        self.dks = Machine("dks", [Port("e0", 33, ACCESS)])
        self.routers = (self.r1, self.r2)
        self.machines = (*self.routers, self.dks)
        self.seen: dict[str, dict[str, Any]] = {}

    def of(self, where: str) -> list[Machine]:
        """The machines that a block of the page is for. The administrator sits at the DKS's."""
        names = {"policy": self.dks, **{each.name: each for each in self.machines}}
        return [names[name.strip()] for name in where.removeprefix("on ").split(",")]

    # -- before the page begins

    def cable(self) -> None:
        """Addresses, and FRR's configuration, as they are on routers in service."""
        for bridge in (LINK, ACCESS):
            ran("ip", "link", "add", bridge, "type", "bridge")
            ran("ip", "link", "set", bridge, "up")
        for number, router in enumerate(self.routers, 1):
            self.address(router, "e0", f"Address=10.0.0.{number}/24\n")
            more = DKS_NETWORK if router is self.r1 else ""
            router.write("/etc/frr/frr.conf", OSPF.format(router_id=f"10.0.0.{number}", more=more))
            daemons = router.path("/etc/frr/daemons")
            router.write("/etc/frr/daemons", daemons.read_text().replace("ospfd=no", "ospfd=yes"))
            router.write("/etc/sysctl.d/router.conf", "net.ipv4.ip_forward=1\n")
        self.dks.path("/etc/systemd/system/multi-user.target.wants/frr.service").unlink()  # it is no router
        self.address(self.r1, "e1", "Address=192.0.2.254/24\n")
        self.address(self.dks, "e0", "Address=192.0.2.1/24\nGateway=192.0.2.254\n")

    def address(self, machine: Machine, name: str, lines: str) -> None:
        """As an administrator gives an interface its address."""
        machine.write(f"/etc/systemd/network/{name}.network", NETWORK.format(name, lines))
        wants = machine.path("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service")
        wants.parent.mkdir(parents=True, exist_ok=True)
        if not wants.is_symlink():
            wants.symlink_to("/usr/lib/systemd/system/systemd-networkd.service")

    def bring(self, version: str) -> None:
        """Copy packages to the machines, each what it needs, in place of those that it was brought before."""
        for machine in self.machines:
            kinds = ("common", "dks", "policy") if machine is self.dks else ("common", "lks")
            files = [file for kind in kinds for file in (PACKAGES / version).glob(f"router-keys-{kind}_*.deb")]
            machine.run("rm -rf /root/packages")
            machine.put(files, "/root/packages")

    def install(self, machine: Machine) -> str:
        """The commands of the page."""
        mine = [
            text
            for where, text, remark in blocks(PAGE.read_text())
            if remark == "packages" and machine in self.of(where)
        ]
        return "".join(machine.run(f"cd /root/packages\n{text}") for text in mine)

    def running(self, machine: Machine) -> str:
        """Those of our services that run, a line each."""
        return machine.run("systemctl list-units --no-legend --state=running 'lks*' 'dks*' 'policy*'")

    # -- what is seen

    def wait_full(self) -> None:
        """Until OSPF is up at both ends."""
        until = time.monotonic() + FULL_S
        while not all("Full/" in each.tried("vtysh -c 'show ip ospf neighbor'").stdout for each in self.routers):
            if time.monotonic() > until:
                told = "\n".join(f"{each.name}:\n{each.journal('-n 60')}" for each in self.machines)
                raise AssertionError(f"no adjacency\n{told}")
            time.sleep(0.25)

    def losses(self) -> int:
        """How often OSPF has lost a neighbour, on all routers together, as FRR told the journal."""
        return sum(each.journal("-t ospfd").count("Full -> ") for each in self.routers)

    def undisturbed(self, deed: Callable[[], Any]) -> dict[str, Any]:
        """Do something, let the dead interval pass; what it gave, and how many neighbours OSPF lost meanwhile."""
        before = self.losses()
        gave = deed()
        time.sleep(QUIET_S)
        self.wait_full()
        return {"gave": gave, "lost": self.losses() - before}

    def xfrm_errors(self) -> dict[str, int]:
        """The kernels' counters of IPsec that are not zero."""
        found = {}
        for machine in self.routers:
            for line in machine.run("cat /proc/net/xfrm_stat").splitlines():
                name, number = line.split()
                if int(number):
                    found[f"{machine.name} {name}"] = int(number)
        return found


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """Where, what, and the remark of every block of the page."""
    for block in BLOCK.finditer(text):
        where, _, remark = block["where"].partition(";")
        yield where, block["text"], remark.strip()


def journal(machine: Machine, unit: str, *words: str) -> list[str]:
    """A unit's lines of the machine's journal in this boot, without times."""
    return machine.journal("-b", "-u", unit, "-o", "cat", *words).splitlines()


def main_pid(machine: Machine, unit: str) -> int:
    """The process of a running unit, as systemd knows it."""
    return int(machine.run(f"systemctl show --value -p MainPID {unit}"))


def wait_active(machine: Machine, unit: str, other_than: int = 0) -> int:
    """Until a unit runs, with another process than that; the process."""
    until = time.monotonic() + FULL_S
    while not (
        machine.tried(f"systemctl is-active --quiet {unit}").returncode == 0
        and (found := main_pid(machine, unit)) not in (0, other_than)
    ):
        assert time.monotonic() < until, machine.journal("-u", unit)
        time.sleep(0.25)
    return found


def carry_keys(story: Story) -> None:
    """As the page says in words, before the Policy Server's commands."""
    story.dks.run("mkdir -p /tmp/keys")
    for machine in story.machines:
        key = machine.path("/etc/router-keys/identity.pub").read_text()
        story.dks.path(f"/tmp/keys/{machine.name}.pub").write_text(key)


def copy(story: Story, line: str) -> None:
    """A line of the page's table of copies: FILE   MACHINE, MACHINE: PLACE."""
    source, rest = line.split(maxsplit=1)
    names, place = rest.split(":")
    here = story.dks.path(source)
    files = sorted(here.iterdir()) if source.endswith("/") else [here]
    for machine in story.of(names):
        target = machine.path(place.strip())
        for file in files:
            (target / file.name if source.endswith("/") else target).write_bytes(file.read_bytes())


def told() -> None:
    """All chapters, in their order. AssertionError with what was said where a command fails."""
    prepare()
    story = Story()
    seen = story.seen
    old = (PACKAGES / "old").is_dir()
    try:
        story.cable()
        for machine in story.machines:
            machine.boot()
        seen["boot"] = {each.name: each.state for each in story.machines}
        story.bring("old" if old else "new")
        seen["install"] = {
            each.name: {"said": story.install(each), "running": story.running(each)} for each in story.machines
        }
        follow_the_page(story, UNKNOWN if old else "")
        seen["killed"] = {
            f"{machine.name} {unit}": story.undisturbed(lambda m=machine, u=unit: killed(m, u))
            for machine, unit in ((story.r1, "lks"), (story.dks, "dks"), (story.dks, "policy"))
        }
        seen["reload"] = {
            f"{machine.name} {unit}": reloaded(machine, unit)
            for machine, unit in ((story.r1, "lks"), (story.dks, "dks"))
        }
        seen["security"] = {
            unit: machine.run(f"systemd-analyze security --no-pager {unit} | tail -1")
            for machine, unit in ((story.r1, "lks"), (story.dks, "dks"), (story.dks, "policy"))
        }
        if old:
            story.bring("new")
            for machine in (story.r1, story.dks):
                seen.setdefault("upgrade", {})[machine.name] = story.undisturbed(lambda m=machine: upgraded(story, m))
        for machine in (story.r1, story.dks):
            machine.reboot()
        story.wait_full()
        seen["reboot"] = {
            "state": [each.state for each in story.machines],
            "order": story.r1.journal("-b", "-u lks -u lks-ready -u frr -t systemd"),
            "status": [each.run("lks status") for each in story.routers],
        }
        seen["errors"] = story.xfrm_errors()
        story.r2.run(IN_CLEAR)
        seen["removed"] = {each.name: removed(story, each) for each in (story.r1, story.dks)}
        story.wait_full()
    finally:
        for machine in story.machines:
            if machine.pid:
                (RUN / f"{machine.name}.journal").write_text(machine.journal())
        (RUN / "story.json").write_text(json.dumps(seen, indent=1))


def follow_the_page(story: Story, unknown: str) -> None:
    """All its blocks up to where nothing is left to install; without the line `unknown`."""
    for where, text, remark in blocks(PAGE.read_text()):
        if remark == "one after the other":
            return
        if remark == "packages":
            continue
        if where == "copies":
            for line in text.splitlines():
                copy(story, line)
            continue
        if where == "on policy":
            carry_keys(story)
        if remark == "rules":
            text = FIREWALL.format(rules=text)
        if remark == "output":
            story.wait_full()
        for machine in story.of(where):
            gave = machine.run(text.replace(unknown, ""))
            if remark == "output":
                story.seen.setdefault("output", {})[machine.name] = gave
    raise AssertionError("the page has no section on upgrades")


def killed(machine: Machine, unit: str) -> dict[str, Any]:
    """End a daemon without a word; what systemd says of it when it runs again."""
    if machine.tried(f"systemctl is-active {unit}").returncode:
        machine.run(f"systemctl enable --now {unit}")
    before = main_pid(machine, unit)
    machine.run(f"kill -9 {before}")
    wait_active(machine, unit, before)
    return {"restarts": machine.run(f"systemctl show --value -p NRestarts {unit}").strip(),
            "journal": journal(machine, unit)[-30:]}  # fmt: skip


def reloaded(machine: Machine, unit: str) -> dict[str, Any]:
    """Whether the same process goes on."""
    before = main_pid(machine, unit)
    machine.run(f"systemctl reload {unit}")
    time.sleep(1)
    return {"same": main_pid(machine, unit) == before, "journal": journal(machine, unit)[-3:]}


def upgraded(story: Story, machine: Machine) -> dict[str, Any]:
    """Install the newer packages over the older ones."""
    unit = "dks" if machine is story.dks else "lks"
    before = machine.run(f"{unit} --version")
    pid = main_pid(machine, unit)
    story.install(machine)
    wait_active(machine, unit, pid)
    return {"before": before, "after": machine.run(f"{unit} --version"), "journal": journal(machine, unit)[-30:]}


def removed(story: Story, machine: Machine) -> dict[str, Any]:
    """Take the packages away again."""
    if machine is not story.dks:
        machine.run(IN_CLEAR)
    said = machine.run("apt remove -y 'router-keys-*'")
    units = machine.tried("systemctl list-unit-files --no-legend 'lks*' 'dks*' 'policy*'").stdout  # 1: there is none
    kept = machine.run("ls /etc/router-keys /var/lib/router-keys")
    return {"said": said, "units": units, "kept": kept, "failed": machine.run("systemctl --failed --no-legend")}


if __name__ == "__main__":
    told()
