"""The figure of the DKS's requests, where what is scheduled lies beyond what was recorded."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

from testbed.analysis.run import NS, Run
from testbed.report.requests import by_mode, draw_requests


def test_a_reconnection_due_after_the_end_of_the_record_does_not_push_the_figure_apart(
    build: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(build("lks", 1).folder, folder)
    events = Run(folder).events
    end_s = events[-1]["t"] / NS
    for event in events:
        if event["kind"] == "dks_scheduled":
            event["at_s"] = 100 * end_s
    (folder / "record.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_requests(tmp_path, by_mode([Run(folder)]))
