"""Process 1 of the guest: mounts what a command needs, runs it, writes how it ended, and switches the machine off.

Runs on the guest's bare Python. The host gives its wishes in /lab/run/guest.json:
{"command": [...], "console": bool, "folders": [...]} and reads the answer from /lab/run/guest-exit.json:
{"exit_code": int, "virtual_s": float, "counts": {name: int}}.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import subprocess
import sys
import termios
import time
from pathlib import Path

RUN = Path("/lab/run")
# On the host: the folder that the guest was started in.
HERE = "/proc/self/cwd"
# What the host has compiled, over what is in the checkout.
CODE = ("agents", "testbed")
# Further folders of the host appear here, read-only, under their names.
FOLDERS = Path("/mnt")
WRITABLE = ("/run", "/tmp", "/var/tmp", "/var/log", "/root", "/dev/shm", "/mnt")
POWER_OFF = 0x4321FEDC
# What Debian's ready User-Mode Linux has as modules and the laboratory uses.
MODULES = (
    "esp4", "esp6", "ah4", "ah6", "xfrm_user", "authenc", "echainiv", "seqiv", "gcm", "veth", "bridge", "dummy",
    "sch_netem", "sch_ingress", "cls_u32", "cls_matchall", "act_gact", "act_mirred", "openvswitch", "nf_tables",
    "nft_xfrm", "loop", "ext4", "tun", "af_packet",
)  # fmt: skip
ENVIRONMENT = {
    # The loader looks for libraries in one more folder for each generation of processors that it knows: all guests pass
    # for the first, or the moments of their events would hang on the host's processor.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-SSE4_2",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": "/opt/lab/site:/lab/project",
    "TERM": "xterm-256color",
}


def mount_hostfs(path: str, target: str, *rights: str) -> None:
    """Mount a folder of the host, named by a link that the host made; the option's form changed in kernel 7."""
    for options in (",".join((*rights, f"hostfs={path}")), ",".join((*rights, path))):
        if (
            subprocess.run(["mount", "-t", "hostfs", "-o", options, "host", target], capture_output=True).returncode
            == 0
        ):
            return
    raise SystemExit(f"the host's folder {path} cannot be mounted")


def mount_all(words: list[str]) -> None:
    """Mount what the guest needs; `words` are the kernel's command line, which says what there is."""
    own_kernel = "lab_guest" in words
    if own_kernel:
        subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
        os.makedirs("/dev/pts", exist_ok=True)
        os.makedirs("/dev/shm", exist_ok=True)
        subprocess.run(["mount", "-t", "devpts", "-o", "newinstance,ptmxmode=666", "devpts", "/dev/pts"], check=True)
    for folder in WRITABLE:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder], check=True)
    for folder in ("/run/frr", "/run/lock", "/run/openvswitch", "/run/netns"):
        os.makedirs(folder)
    subprocess.run(["chown", "frr:frr", "/run/frr"], check=True)
    if own_kernel:
        mount_hostfs(f"{HERE}/run", str(RUN))
        for folder in CODE:
            mount_hostfs(f"{HERE}/code/{folder}", f"/lab/project/{folder}", "ro")
    if any(word.startswith("lab_modules=") for word in words):
        mount_hostfs(f"{HERE}/modules", "/lib/modules")
        subprocess.run(["modprobe", "-a", *MODULES], capture_output=True)


def take_terminal() -> None:
    """Make the console the controlling terminal, so that Ctrl-C reaches what runs in it."""
    os.setsid()
    terminal = os.open("/dev/tty0", os.O_RDWR)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 1)
    for number in (0, 1, 2):
        os.dup2(terminal, number)


def run(command: list[str], console: bool) -> int:
    """Run the command to its end, burying orphans meanwhile; 128 + N when signal N ended it."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid() if not console else take_terminal()
            os.chdir("/lab/project")
            os.execvpe(command[0], command, ENVIRONMENT)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
            os._exit(127)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def counts() -> dict[str, int]:
    """What the guest has cost its host until now, which only our own kernel counts."""
    try:
        lines = Path("/proc/testbed").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {name: int(number) for name, number in map(str.split, lines)}


def main() -> None:
    os.environ.update(ENVIRONMENT)
    words = Path("/proc/cmdline").read_text().split()
    mount_all(words)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    wishes = json.loads((RUN / "guest.json").read_text())
    for name in wishes.get("folders", ()):
        (FOLDERS / name).mkdir()
        mount_hostfs(f"{HERE}/{name}", str(FOLDERS / name), "ro")
    code = run(wishes["command"], wishes["console"])
    part = RUN / "guest-exit.json.part"
    part.write_text(json.dumps({"exit_code": code, "virtual_s": time.monotonic(), "counts": counts()}))
    part.rename(RUN / "guest-exit.json")
    sys.stdout.flush()
    if "lab_guest" in words:
        os.sync()
        ctypes.CDLL(None).reboot(POWER_OFF)


if __name__ == "__main__":
    main()
