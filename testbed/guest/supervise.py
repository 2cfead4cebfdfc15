"""Runs a guest and ends all of it: `python -I -S supervise.py PROGRAM ARGUMENT…`.

User-Mode Linux has a process on the host for each of the guest's. One that has just been made when the kernel is
killed may miss that, and would stay for ever with the guest's memory mapped. This process adopts such orphans, and
ends them when the kernel's process ends or when it is asked to stop itself. It knows nothing of what it runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def start(program: list[str]) -> int:
    """Start the program, which is killed should this process be. Its process id."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP, signal.SIGCHLD})
    starter = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            if os.getppid() == starter:
                os.execv(program[0], program)
        except OSError as error:
            print(f"{program[0]}: {error.strerror}", file=sys.stderr, flush=True)
        finally:
            os._exit(127)
    return child


def wait(child: int) -> int:
    """Bury orphans until the child ends, which a signal to this process makes it do at once. Its exit code."""
    while True:
        if signal.sigwaitinfo({*STOP, signal.SIGCHLD}).si_signo != signal.SIGCHLD:
            os.kill(child, signal.SIGKILL)
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break


def orphans() -> list[int]:
    """The processes that have become this one's children."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                parent = stat.read().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it ended meanwhile
        if int(parent) == os.getpid():
            found.append(int(name))
    return found


def end_orphans() -> None:
    while True:
        for pid in orphans():
            os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def main() -> None:
    code = wait(start(sys.argv[1:]))
    end_orphans()
    sys.exit(code)


main()
