"""`python -m fuzz [TARGET...] --seconds N`: each target in turn, with atheris where it is installed.

Exit code 1 for findings, 2 for bad usage.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from fuzz import harness, mutate


def pool(name: str) -> list[bytes]:
    """What to begin from: good inputs and the kept corpus."""
    return [*harness.load(name).seeds(), *(data for _name, data in harness.corpus(name))]


def main(argv: list[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"all of: {', '.join(harness.names())}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("auto", "atheris", "mutation"), default="auto")
    parser.add_argument(
        "--findings", type=Path, default=Path("fuzz-findings"), help="folder for inputs that break a bound"
    )
    options = parser.parse_args(argv)
    for name in options.targets:
        if name not in harness.names():
            print(f"fuzz: unknown target {name!r}; one of: {', '.join(harness.names())}", file=sys.stderr)
            return 2
    code = 0
    engine = options.engine
    if engine == "auto":
        engine = "atheris" if find_spec("atheris") is not None else "mutation"
    for name in options.targets or harness.names():
        if engine == "atheris":
            from fuzz.atheris_engine import run

            code += run(name, options.seconds, options.seed, options.findings)
            continue
        target, inputs = harness.load(name), pool(name)
        started = time.monotonic()
        result = mutate.loop(target, inputs, seconds=options.seconds, seed=options.seed)
        spent = time.monotonic() - started
        print(
            f"{name}: {result.executions} executions in {spent:.0f} s, {len(result.outcomes)} outcomes, "
            f"{len(result.findings)} findings (mutation)",
            flush=True,
        )
        for number, (what, data) in enumerate(result.findings.items()):
            options.findings.mkdir(parents=True, exist_ok=True)
            file = options.findings / f"{name}-{number}.bin"
            file.write_bytes(data)
            print(f"  {what}\n  {file}")
        code += len(result.findings)
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
