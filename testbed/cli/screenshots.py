"""`lab screenshots`: pictures of the run view and of the administrator's pages, and the frame rate of the run view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.errors import InputError

PICTURES = Path("docs/pictures")


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def screenshots(
        folder: Annotated[Path | None, typer.Argument(help="a results folder, or a run's")] = None,
        policy: Annotated[
            str | None, typer.Option(help="a page of the administrator instead, such as /deployment")
        ] = None,
        out: Annotated[Path | None, typer.Option(help="the PNG file (view.png or policy.png in docs/pictures)")] = None,
        at: Annotated[str, typer.Option(help="the part after the # in the address of the run view")] = "t=12",
        keying: Annotated[str | None, typer.Option(help="as in lab view")] = None,
        width: Annotated[int, typer.Option(min=320, max=4000, help="width of the picture in pixels")] = 1400,
        height: Annotated[int, typer.Option(min=320, max=4000, help="height of the picture in pixels")] = 900,
        dark: Annotated[bool, typer.Option("--dark", help="dark colours")] = False,
    ) -> None:
        """Take a picture of the run view at a moment, and print how many frames a second a browser draws of it.

        lab screenshots runs/recovery_storm-abilene-virtual --keying central-mgmt,lks --at t=12
        lab screenshots --policy /

        The frames are counted in headless Chromium while the cursor moves through the whole record in five seconds. The
        administrator's pages show Abilene in the middle of a deployment, on a Policy Server of their own.
        """
        import tempfile

        from testbed.setup import host_packages, python_env
        from testbed.view import pictures
        from testbed.whole import put

        if (folder is None) == (policy is None):
            raise InputError(
                "a picture shows either a run or an administrator's page",
                where="FOLDER, --policy", allowed="one of them", next_command="lab screenshots --policy /",
            )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="lab-screenshots-") as temporary:
            if folder is not None:
                from testbed.cli.run import modes
                from testbed.view.write import write

                file, names = write([folder], Path(temporary) / "view.html", modes(keying) or None)
            host_packages.install(host_packages.for_pages())
            python_env.use("test")
            with pictures.opened(width, height, dark=dark) as page:
                if policy is not None:
                    from testbed.view.policy_page import TOPOLOGY, served

                    with served(Path(temporary) / "policy") as (address, token):
                        pictures.sign_in(page, address, token)
                        pictures.visit(page, address, policy)
                        shot, subject = page.screenshot(), f"{policy} of {TOPOLOGY}"
                else:
                    pictures.show(page, file, at)
                    shot, subject = (
                        page.screenshot(),
                        f"{' and '.join(names)}; {pictures.frames(page):.0f} frames a second",
                    )
        out = out or PICTURES / ("view.png" if policy is None else "policy.png")
        put(out, shot)
        typer.echo(f"{out}: {subject}")
