"""Our own mutation loop, for Pythons without atheris. Seeded; inputs with new outcomes are mutated further."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fuzz.harness import MAX_INPUT, Finding, Target, execute

_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 31, (1 << 32) - 1, (1 << 64) - 1)
_MOST_KEPT = 2000


@dataclass
class Result:
    """What a loop did."""

    executions: int = 0
    outcomes: set[str] = field(default_factory=set)
    findings: dict[str, bytes] = field(default_factory=dict)
    """What was wrong → the first input that showed it."""


def mutated(data: bytes, pool: list[bytes], chance: random.Random, *, text: bool = False) -> bytes:
    """A neighbour of `data`: octets flipped, set, taken out, doubled, or spliced with another input."""
    result = bytearray(data)
    for _time in range(1 << chance.randrange(5)):
        at = chance.randrange(len(result) + 1)
        match chance.randrange(9 if text else 8):
            case 0 if result:
                result[at % len(result)] ^= 1 << chance.randrange(8)
            case 1 if result:
                result[at % len(result)] = chance.randrange(256)
            case 2:
                width = chance.choice((1, 2, 4, 8))
                octets = (chance.choice(_NUMBERS) % (1 << 8 * width)).to_bytes(width, "big")
                result[at : at + width] = octets
            case 3:
                del result[at : at + chance.choice((1, 2, 4, 8, 64))]
            case 4:
                result[at:at] = chance.randbytes(chance.choice((1, 2, 4, 16)))
            case 5:
                piece = result[at : at + chance.choice((1, 4, 8, 32, 256))]
                result[at:at] = piece * chance.choice((1, 2, 30))
            case 6:
                other = chance.choice(pool)
                start = chance.randrange(len(other) + 1)
                result[at : at + chance.choice((0, 8, MAX_INPUT))] = other[start : start + chance.choice((4, 32, 512))]
            case 7 if len(result) >= 2:
                # A length that is a little wrong is what parsers of nested structures get wrong.
                offset = at % (len(result) - 1)
                number = int.from_bytes(result[offset : offset + 2], "big") + chance.choice((-8, -4, -1, 1, 4, 8))
                result[offset : offset + 2] = (number % 65536).to_bytes(2, "big")
            case 8:
                words = chance.choice(pool).split() or [b" "]
                result[at:at] = b" " + chance.choice(words) + chance.choice((b" ", b"\n", b":", b"\n  - "))
            case _:
                pass
    return bytes(result[:MAX_INPUT])


def loop(
    target: Target,
    pool: list[bytes],
    *,
    seconds: float | None = None,
    executions: int | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Mutate until so many seconds are over, or so many inputs were run."""
    chance, result = random.Random(seed), Result()
    kept = [*pool, b""]
    until = None if seconds is None else clock() + seconds
    while (until is None or clock() < until) and (executions is None or result.executions < executions):
        data = mutated(chance.choice(kept), kept, chance, text=target.text)
        result.executions += 1
        try:
            outcome = execute(target, data)
        except Finding as finding:
            result.findings.setdefault(str(finding)[:200], data)
            continue
        if outcome not in result.outcomes:
            result.outcomes.add(outcome)
            if len(kept) < _MOST_KEPT:
                kept.append(data)
    return result
