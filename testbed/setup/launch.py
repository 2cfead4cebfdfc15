"""Becomes another program that ends when its starter does: `python -I -S launch.py STARTER SIGNAL PROGRAM ARGUMENT…`.

The kernel sends SIGNAL when the starter ends, however it ends. No core file is written, and addresses are not
randomised where this process may ask for that. A program of its own, since code between fork and exec may not
run beside other threads.
"""

import contextlib
import ctypes
import os
import resource
import sys

PR_SET_PDEATHSIG = 1
ADDR_NO_RANDOMIZE = 0x0040000


def main() -> None:
    starter, number, *program = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != int(starter):
        sys.exit(0)  # it ended before the kernel was asked
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc.personality(ADDR_NO_RANDOMIZE)  # refused in some containers; then only addresses differ between runs
    with contextlib.suppress(FileNotFoundError):
        os.execvp(program[0], program)
    print(f"{program[0]}: not found", file=sys.stderr)
    sys.exit(127)


if __name__ == "__main__":
    main()
