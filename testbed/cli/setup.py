"""`lab setup`: makes missing artefacts now, instead of at the first run."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def setup(
        kernel: Annotated[str, typer.Option(help="virtual, uml (builds no kernel) or native")] = "virtual",
        also: Annotated[
            list[str] | None,
            typer.Option(
                "--with", help="add a verb's needs: sweep, grid, models, fuzz, docs, metrics, package or test"
            ),
        ] = None,
    ) -> None:
        """Make the Python environment, guest tree and kernel that `lab run` needs, if they are missing.

        Other verbs add their own needs when they run, or here by --with.
        """
        from testbed.errors import InputError
        from testbed.setup import python_env
        from testbed.setup.all import make_all, make_for_models
        from testbed.setup.progress import say

        for each in also or ():
            if each not in python_env.LAYERS:
                raise InputError(f"unknown layer {each!r}", where="--with", allowed=", ".join(python_env.LAYERS))
        make_all(kernel, tests="test" in (also or ()))
        for each in also or ():
            python_env.use(*(python_env.FOR_TESTS if each == "test" else (each,)))
        if {"models", "test"} & set(also or ()):
            make_for_models()
        say("everything is there")
