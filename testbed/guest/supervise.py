"""Runs a guest in its bounds and ends all of it: `python -I -S supervise.py PLACES PROGRAM ARGUMENT…`.

User-Mode Linux has a process on the host for each of the guest's. One that has just been made when the kernel is
killed may miss that, and would stay for ever with the guest's memory mapped. This process adopts such orphans, and
ends them when the kernel's process ends or when it is asked to stop itself. Before, it gives up for itself and for
them all what the guest has no use for: the host's files (by Landlock, where the host's kernel has it), and all
processors but one. PLACES says in JSON which folders and files remain: {"read": […], "write": […], "memory": FOLDER};
the guest's memory gets a folder of its own there. It knows nothing of what it runs.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile

# Sockets with such a name and a processor's number are the locks on processors.
LOCK = "\0router-keys-processor-"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
# Landlock: the numbers of its calls, the same on every machine, and its rights.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULESET_VERSION, PATH_BENEATH = 1, 1
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
# The first version lets no file be renamed from folder to folder.
LANDLOCK = 2
# How many rights on files a version of Landlock knows: TRUNCATE came with the third, IOCTL_DEV with the fifth.
RIGHTS = {2: 14, 3: 15, 4: 15}
MOST_RIGHTS = 16
FOR_FILES = EXECUTE | 1 << 1 | READ_FILE | 1 << 14 | 1 << 15


def start(program: list[str], read: list[str], write: list[str]) -> int:
    """Start the program in its bounds; it is killed should this process be. Its process id."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    starter = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            if os.getppid() == starter:
                stay_within(read, write)
                os.execv(program[0], program)
        except OSError as error:
            print(f"{program[0]}: {error.strerror}", file=sys.stderr, flush=True)
        finally:
            os._exit(127)
    return child


def take_a_processor() -> socket.socket | None:
    """One processor for the kernel's process and all of the guest's: handing over between two costs more than the work.

    Each guest of a machine takes one that no other has, as long as there is one; guests beyond that run where they may.
    The socket is the lock, without a file: it lasts as long as this process.
    """
    for processor in sorted(os.sched_getaffinity(0)):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"{LOCK}{processor}")
            os.sched_setaffinity(0, {processor})
        except OSError:  # taken, or taken away from us meanwhile
            lock.close()
        else:
            return lock
    return None


def landlock() -> int:
    """The version of Landlock that the host's kernel has; 0 or less without."""
    return int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), RULESET_VERSION))


def stay_within(read: list[str], write: list[str]) -> bool:
    """Give up all files but these and those below them, for this process and all that it starts. Whether the host's
    kernel could: one without Landlock leaves the guest's root all files of whoever runs the guest.
    """
    libc, version = ctypes.CDLL(None), landlock()
    if version < LANDLOCK:
        return False
    every = (1 << RIGHTS.get(version, MOST_RIGHTS)) - 1
    wish = struct.pack("=Q", every)
    ruleset = libc.syscall(CREATE_RULESET, wish, ctypes.c_size_t(len(wish)), 0)
    for paths, rights in ((read, EXECUTE | READ_FILE | READ_DIR), (write, every)):
        for path in paths:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights if os.path.isdir(path) else rights & FOR_FILES
            libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", allowed & every, descriptor), 0)
            os.close(descriptor)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.syscall(RESTRICT_SELF, ruleset, 0) == 0)


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
    pids = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                parent = stat.read().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it ended meanwhile
        if int(parent) == os.getpid():
            pids.append(int(name))
    return pids


def end_orphans() -> None:
    while True:
        for pid in orphans():
            os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP, signal.SIGCHLD})
    allowed, program = json.loads(sys.argv[1]), sys.argv[2:]
    lock = take_a_processor()
    memory = tempfile.mkdtemp(prefix="lab-memory-", dir=allowed["memory"])
    os.environ["TMPDIR"] = memory
    try:
        code = wait(start(program, allowed["read"], [*allowed["write"], memory]))
        end_orphans()
    finally:
        shutil.rmtree(memory, ignore_errors=True)
        if lock is not None:
            lock.close()
    sys.exit(code)


if __name__ == "__main__":
    main()
