"""The run view as one HTML file: scenes, script and style in it, nothing asked from anywhere. Knows nothing of runs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agents import look

HERE = Path(__file__).parent


def page(
    scenes: Sequence[dict[str, Any]],
    captions: Sequence[tuple[int, str]] = (),
    speed: int | None = None,
    live: int | None = None,
) -> str:
    """The page of one scene, or of several side by side on one cursor.

    `captions`: sentences that tell it, and from when on (ns of the first scene's record). `speed`: it plays at once, so
    many times faster than the record. `live`: the record still grows, and the page asks its own server for what comes
    after so many messages; else it asks nothing from anywhere.
    """
    style = "".join(path.read_text() for path in (look.THEME, HERE / "view.css", look.MAP))
    script = (HERE / "view.js").read_text()
    data = gzip.compress(
        json.dumps(
            {"scenes": scenes, "told": captions, "speed": speed, "live": live, "marks": look.MARKS},
            separators=(",", ":"),
        ).encode(),
        9,
        mtime=0,
    )
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("view.html.j2").render(
        title=" and ".join(each["name"] for each in scenes),
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        live=live is not None,
        data=base64.b64encode(data).decode(),
    )


def _hash(text: str) -> Markup:
    """As a Content-Security-Policy names what it allows (CSP level 2, section 4.2.4)."""
    return Markup(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())
