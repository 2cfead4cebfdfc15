"""`lab demo`: a guided tour of two minutes, in a browser."""

from __future__ import annotations

import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from testbed.errors import InputError

WAITING = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>A guided tour</title></head><body><h1>A guided tour</h1><p>Six virtual routers with FRR start, and live through
four minutes of their time. This page plays them as soon as they have: in some twenty seconds.</p></body></html>"""


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def demo(
        out: Annotated[Path | None, typer.Option(help="write the tour as one HTML file, and open no page")] = None,
        port: Annotated[int, typer.Option(min=0, max=65535, help="of the page, on 127.0.0.1; 0: any")] = 0,
        browser: Annotated[bool, typer.Option(help="open a browser here; else only the address is printed")] = True,
    ) -> None:
        """Show in two minutes what this is: a network in clear is protected link by link, loses its key server and then
        its power, and comes back.

        The page is on this machine's loopback until Ctrl-C. Over SSH, forward the port that is printed:
        ssh -L 8000:127.0.0.1:PORT MACHINE
        """
        from testbed.setup.all import make_all
        from testbed.view.serve import PageServer
        from testbed.view.tour import tour

        if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
            problem = "is a folder" if out.is_dir() else "the folder is not there"
            raise InputError(problem, where=str(out), allowed="the name of a file in a folder that exists")
        make_all("virtual")
        with tempfile.TemporaryDirectory(prefix="lab-demo-") as folder:
            if out is not None:
                from testbed.whole import put

                put(out, tour(Path(folder)))
                typer.echo(f"{out}: a guided tour; open it in a browser")
                return
            server = PageServer(WAITING, port)
            try:
                typer.echo(f"open {server.address} in a browser (Ctrl-C ends it)")
                if browser:
                    webbrowser.open(server.address)
                server.page = tour(Path(folder))
                typer.echo("the tour plays; `lab demo --out FILE` keeps it")
                threading.Event().wait()
            finally:
                server.close()
