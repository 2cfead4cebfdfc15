"""A fault as a person types it: the action and `name=value` words. Pure.

What a value means is its argument's business (`steps`): `mark name=5` is a text, `delay_ms=5ms` a number with a unit,
`nodes=r1,r2` a list, `groups=r1,r2/r3` a list of lists.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.errors import InputError
from testbed.faults.steps import ACTIONS, Step, make


def parse_fault(words: Sequence[str]) -> Step:
    """`link_carrier_down segment=r1--r2` as a step of now. InputErrors for what is wrong with it."""
    action, args = words[0], {}
    known = ACTIONS[action].arguments() if action in ACTIONS else []
    for word in words[1:]:
        name, mark, value = word.partition("=")
        if not mark or not name:
            raise InputError(
                f"{word!r} is not an argument", where=action, allowed=", ".join(f"{each}=…" for each in known) or "none"
            )
        if name in args:
            raise InputError(f"{name} is given twice", where=action, allowed="each argument once")
        args[name] = value
    return make(action, args)
