"""`lab decode`: prints the IKEv2 and G-IKEv2 messages of a capture, decrypted, to read beside the RFCs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

SHOWN = 5
"""The most bad lines of a key file that are reported one by one."""


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def decode(
        capture: Annotated[Path, typer.Argument(metavar="PCAP", help="a pcap or pcapng file, also .gz; - for stdin")],
        keys: Annotated[
            list[Path] | None, typer.Option(help="a key file that an agent's --ike-log wrote; repeatable")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False,
        show_keys: Annotated[bool, typer.Option(help="show the keys in KD, unwrapped where the file allows")] = False,
    ) -> None:
        """Print every IKE message on UDP ports 500, 848 and 4500: exchange, Message ID, flags and all payloads.

        It decodes GSA, KD, our own notifications and GSA_REKEY too, which other tools show as octets. Signatures are
        not verified. Damage to the capture or a key file is reported on standard error, and the rest is decoded. Exit
        code 2 when a file has nothing usable.
        """
        from agents.decode import Decoder
        from agents.decode.text import lines
        from testbed.errors import InputError
        from testbed.probes.ike import ike_datagrams

        flaws: list[str] = []
        decoder = Decoder(_keys(keys or [], flaws), show_keys=show_keys)
        decoded: list[dict[str, Any]] = []
        count, cuts = 0, list[str]()
        try:
            source = sys.stdin.buffer if str(capture) == "-" else capture
            for datagram in ike_datagrams(source, flaws=cuts):
                count += 1
                message, time_s = decoder.message(datagram.data), datagram.time_ns / 1e9
                if as_json:
                    heading = {"time_s": time_s, "source": datagram.source, "destination": datagram.destination}
                    decoded.append({**heading, **({"cut": True} if datagram.cut else {}), **message.as_json()})
                else:
                    for line in lines(message, datagram.source, datagram.destination, time_s):
                        typer.echo(line)
                    if datagram.cut:
                        typer.echo("    the capture holds only a part of this datagram")
        except ValueError as error:
            if not count:
                raise InputError(
                    str(error), where=str(capture), allowed="a pcap or pcapng file", next_command="lab capture --help"
                ) from error
            cuts.append(f"damaged after that: {error}")
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}", where=str(capture), allowed="a pcap or pcapng file",
                next_command="lab capture --help",
            ) from error  # fmt: skip
        flaws += [f"{capture}: {cut}" for cut in cuts]
        for flaw in flaws:
            typer.echo(f"lab: {flaw}", err=True)
        reports = [report.line() for report in decoder.reports()]
        if as_json:
            document = {"messages": decoded, "sas": reports, **({"flaws": flaws} if flaws else {})}
            typer.echo(json.dumps(document, indent=1))
            return
        for line in reports or ([] if count else ["no IKE messages on UDP ports 500, 848 and 4500"]):
            typer.echo(line)


def _keys(paths: list[Path], flaws: list[str]) -> Any:
    """The keys of all files. Bad lines are skipped and reported; InputError for a file without a good one."""
    from agents.decode import KeyFile, KeyFileError
    from testbed.errors import InputError, Location

    keys = KeyFile()
    for path in paths:
        before, bad = len(keys), list[KeyFileError]()
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}", where=str(path), allowed="a key file that an --ike-log wrote",
                next_command="lab decode --help",
            ) from error  # fmt: skip
        for number, line in enumerate(raw.decode("ascii", errors="replace").splitlines(), 1):
            try:
                keys.add(number, line)
            except KeyFileError as error:
                bad.append(error)
        if bad and len(keys) == before:
            raise InputError(
                bad[0].problem, where=Location(path, bad[0].line), next_command="lab decode --help",
                allowed="lines of Wireshark's ikev2_decryption_table, as an agent's --ike-log writes them",
            )  # fmt: skip
        flaws += [f"{path}:{each.line}: {each.problem}; the line is skipped" for each in bad[:SHOWN]]
        if len(bad) > SHOWN:
            flaws.append(f"{path}: {len(bad) - SHOWN} more lines are skipped")
    return keys
