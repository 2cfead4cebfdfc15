"""`lab package`: builds the Debian packages for routers and servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def package(
        out: Annotated[Path, typer.Option(help="the packages' folder, with a subfolder for each release")] = Path(
            "packages"
        ),
        release: Annotated[
            list[int] | None, typer.Option(help="Debian release, 12 or 13; repeatable; default: both")
        ] = None,
        commit: Annotated[
            str | None, typer.Option(help="build the agents of this commit or tag, with today's packaging")
        ] = None,
        oci: Annotated[
            bool,
            typer.Option("--oci", help="build container images of the DKS and the Policy Server instead of packages"),
        ] = False,
    ) -> None:
        """Build Debian packages of the LKS, the DKS and the Policy Server, with the Python packages that they need.

        They install without a network. With --oci: container images instead, each an OCI layout in a tar file that
        podman and skopeo read. The same commit gives the same bytes.
        """
        from testbed.errors import InputError
        from testbed.packages.releases import release as known
        from testbed.packages.source import full
        from testbed.setup import python_env

        if oci and release:
            raise InputError("images have no choice of release", where="--release", allowed="no release with --oci")
        for number in release or ():
            known(number)
        if commit is not None:
            full(commit)
        if out.exists() and not out.is_dir():
            raise InputError("is not a folder", where=str(out), allowed="a folder, or a name that does not exist yet")
        python_env.use("package")
        if oci:
            from testbed.packages import oci as images

            made = images.build(out, commit)
        else:
            from testbed.packages.build import build

            made = build(out, release or (), commit)
        for each in made:
            typer.echo(each)
