"""`lab screenshots FOLDER`: pictures of the run view, and how fast it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def screenshots(
        folder: Annotated[Path, typer.Argument(help="a results folder, or a run's")],
        out: Annotated[Path, typer.Option(help="the PNG file")] = Path("docs/pictures/view.png"),
        at: Annotated[str, typer.Option(help="what stands behind the # of the page's address")] = "t=12",
        keying: Annotated[str | None, typer.Option(help="as of lab view")] = None,
        width: Annotated[int, typer.Option(min=320, max=4000, help="of the picture, in pixels")] = 1400,
        height: Annotated[int, typer.Option(min=320, max=4000, help="of the picture, in pixels")] = 900,
        dark: Annotated[bool, typer.Option("--dark", help="as at night")] = False,
    ) -> None:
        """Take a picture of the run view at a moment, and say how many frames a second a browser draws of it.

        lab screenshots runs/recovery_storm-abilene-virtual --keying central-mgmt,lks --at t=12

        The frames are counted in headless Chromium while the cursor goes through the whole record in five seconds.
        """
        import tempfile

        from testbed.cli.run import modes
        from testbed.setup import host_packages, python_env
        from testbed.view import pictures
        from testbed.view.write import write
        from testbed.whole import put

        with tempfile.TemporaryDirectory(prefix="lab-screenshots-") as place:
            file, names = write([folder], Path(place) / "view.html", modes(keying) or None)
            host_packages.install(host_packages.for_pages())
            python_env.use("test")
            with pictures.opened(width, height, dark=dark) as page:
                pictures.show(page, file, at)
                put(out, page.screenshot())
                rate = pictures.frames(page)
        typer.echo(f"{out}: {' and '.join(names)}; {rate:.0f} frames a second")
