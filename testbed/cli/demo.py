"""`lab demo`: a guided tour of two minutes in a browser."""

from __future__ import annotations

import tempfile
import threading
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from testbed.errors import InputError

WAITING = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>A guided tour</title></head><body><h1>A guided tour</h1><p>Six virtual routers with FRR start. This page shows
them as soon as they run, in a few seconds.</p></body></html>"""


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def demo(
        out: Annotated[Path | None, typer.Option(help="write the tour as one HTML file, and open no page")] = None,
        speed: Annotated[int, typer.Option(min=1, max=100, help="so many seconds of the network in one of yours")] = 2,
        port: Annotated[int, typer.Option(min=0, max=65535, help="port of the page, on 127.0.0.1; 0: any")] = 0,
        browser: Annotated[bool, typer.Option(help="open a browser here; otherwise only print the address")] = True,
    ) -> None:
        """Show the project in two minutes: a network in clear is protected link by link, loses its key server and then
        its power, and recovers.

        The page is on this machine's loopback until Ctrl-C. Over SSH, forward the port that is printed: ssh -L
        8000:127.0.0.1:PORT MACHINE
        """
        from testbed.setup.all import make_all
        from testbed.view.demo import END_S
        from testbed.view.serve import PageServer
        from testbed.view.tour import shown, tour

        began, opened = time.monotonic(), threading.Event()

        def first() -> None:
            if not opened.is_set():
                opened.set()
                typer.echo(f"the tour is in a browser after {time.monotonic() - began:.1f} s; it lasts {lasts:.0f} s")

        lasts = END_S / speed
        if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
            problem = "is a folder" if out.is_dir() else "the folder does not exist"
            raise InputError(problem, where=str(out), allowed="the name of a file in a folder that exists")
        make_all("virtual")
        with tempfile.TemporaryDirectory(prefix="lab-demo-") as folder:
            if out is not None:
                from testbed.whole import put

                put(out, tour(Path(folder), speed))
                typer.echo(f"{out}: a guided tour; open it in a browser")
                return
            server = PageServer(WAITING, port)
            try:
                typer.echo(f"open {server.address} in a browser (Ctrl-C ends it)")
                if browser:
                    webbrowser.open(server.address)
                shown(Path(folder), speed, server, first)
                typer.echo("the network has run, and the tour goes on; `lab demo --out FILE` keeps it")
                threading.Event().wait()
            finally:
                server.close()
