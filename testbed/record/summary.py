"""summary.json: its format number, and the reader, which accepts older formats and reports damage.

Format 1 has no number, and calls every time convergence; format 2 names under `measured` the meaning of `convergence_s`
and the counts. Knows nothing of how the numbers were made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from testbed.errors import InputError, Location
from testbed.owned import NAME_PATTERN
from testbed.record.reading import document, line_of, value

FILE = "summary.json"
FORMAT = 2
UNNAMED: dict[str, Any] = {
    "main": {"name": "convergence", "since": "the fault", "until": "what the experiment's page says"},
    "restored": "adjacencies restored",
    "requests": "the fault",
}
"""What an older summary says that it measured."""

Values = list[float | None]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _Spread(_Part):
    values: Values
    median: float | None = None
    low: float | None = None
    high: float | None = None
    min: float | None = None
    max: float | None = None
    p25: float | None = None
    p75: float | None = None
    p95: float | None = None


class _Adjacencies(_Part):
    expected: int | None = None
    restored: Values = []


class _Multicast(_Part):
    heard_s: _Spread
    ratio_to_none: float | None = None
    ratio_interval: tuple[float, float] | None = None


class _Keying(_Part):
    n: int = Field(0, ge=0)
    failed: int = 0
    convergence_s: _Spread
    adjacencies: _Adjacencies = _Adjacencies()
    dks_requests: dict[str, Values] = {}
    requests_first_60s: _Spread | None = None
    multicast: _Multicast | None = None
    ratio_to_none: float | None = None
    ratio_interval: tuple[float, float] | None = None
    extra: dict[str, Values] = {}
    ok: bool = True
    reasons: list[str] = []


class _Span(_Part):
    name: str
    since: str
    until: str


class _Measured(_Part):
    main: _Span | None = None
    multicast: _Span | None = None
    restored: str = ""
    requests: str = ""


class _Provenance(_Part):
    records: dict[str, str | None] = {}


class _Criterion(_Part):
    keying: str
    text: str
    value: str
    ok: bool


class _Run(_Part):
    keying: str
    seed: int
    folder: Annotated[str, Field(pattern=r"^runs/" + NAME_PATTERN[1:])]
    status: str
    wall_s: float
    virtual_s: float


class _Summary(_Part):
    """The part that readers use. Optional parts are `| None`, or are found elsewhere."""

    experiment: Annotated[str, Field(pattern=NAME_PATTERN)]
    keyings: dict[str, _Keying]
    title: str = ""
    topology: str = ""
    routers: int = 0
    kernel: Literal["virtual", "uml", "native"] = "virtual"
    command: str = ""
    seeds: list[int] = []
    source: str | None = None
    measured: _Measured = _Measured()
    criteria: list[_Criterion] = []
    findings: list[str] = []
    runs: list[_Run] = []
    provenance: _Provenance = _Provenance()


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a results folder, in the present format. InputError, with file and line, when there is no usable
    one."""
    path = folder / FILE
    if not folder.is_dir():
        raise InputError(
            "is not a folder" if folder.exists() else "no such folder", where=str(folder),
            allowed="a folder that `lab run` wrote", next_command="lab run --help",
        )  # fmt: skip
    try:
        summary = value(path)
        number = summary.get("format", 1) if isinstance(summary, dict) else 1
        if number not in range(1, FORMAT + 1) or isinstance(number, bool):
            where = Location(path, line_of(path.read_text(encoding="utf-8"), ["format"]))
            raise InputError(
                f"is of format {number!r}", where=where,
                allowed=f"formats 1 to {FORMAT}; a later version of the laboratory reads later formats",
            )  # fmt: skip
        document(path, _Summary)
    except InputError as error:
        raise InputError(
            error.problem, where=error.where, allowed=error.allowed or "a summary as `lab run` writes it",
            next_command=f"lab report {folder}, which makes it again from its records",
        ) from error  # fmt: skip
    return {**summary, "format": FORMAT, "measured": {**UNNAMED, **summary.get("measured", {})}}
