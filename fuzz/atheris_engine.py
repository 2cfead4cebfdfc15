"""The same targets under atheris: libFuzzer with coverage of our Python. It ends its process, so each has one."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.harness import FOLDER, MAX_INPUT

_WITHOUT_COVERAGE = 30
"""Seconds that importing and instrumenting may take beside the fuzzing itself."""


def run(name: str, seconds: float, seed: int, findings: Path) -> int:
    """Fuzz one target; how many findings (libFuzzer stops at the first). Prints one line."""
    from fuzz.__main__ import pool

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for number, data in enumerate(pool(name)):
            Path(folder, f"{number:05}").write_bytes(data)
        findings.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "fuzz.atheris_engine", name, folder,
            f"-max_total_time={int(seconds)}", f"-seed={seed + 1}", f"-max_len={MAX_INPUT}", "-timeout=30",
            "-rss_limit_mb=2048", f"-artifact_prefix={findings.resolve()}/{name}-", "-print_final_stats=1",
        ]  # fmt: skip
        done = subprocess.run(
            command,
            cwd=FOLDER.parent,
            capture_output=True,
            text=True,
            timeout=seconds * 2 + _WITHOUT_COVERAGE,
            check=False,
        )
    words = done.stdout + done.stderr
    executions = re.search(r"stat::number_of_executed_units:\s+(\d+)", words)
    edges = re.findall(r"\bcov: (\d+)", words)
    code = 1 if done.returncode else 0
    print(
        f"{name}: {executions[1] if executions else '?'} executions in {seconds:.0f} s, "
        f"{edges[-1] if edges else '?'} edges, {code} findings (atheris)",
        flush=True,
    )
    if code:
        print("\n".join(words.splitlines()[-25:]))
    return code


def _child(name: str, words: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["agents", "testbed", "fuzz.targets"]):
        from fuzz.harness import execute, load

        target = load(name)
    list(target.seeds())  # what is made once is not any input's affair

    def one(data: bytes) -> None:
        execute(target, data)

    atheris.Setup([sys.argv[0], *words], one)
    atheris.Fuzz()


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2:])
