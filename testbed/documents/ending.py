"""How the programs of this package end: with exit code 0, or with the error of the laboratory that stopped them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from testbed.errors import LabError


def ended(work: Callable[[], object]) -> int:
    """Do the work. 0, or the exit code of the LabError that it raised, which standard error has in its four parts."""
    try:
        work()
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
