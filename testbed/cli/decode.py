"""`lab decode`: the IKEv2 and G-IKEv2 messages of a capture, decrypted and readable beside the RFCs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def decode(
        capture: Annotated[Path, typer.Argument(metavar="PCAP", help="a pcap or pcapng file")],
        keys: Annotated[
            list[Path] | None, typer.Option(help="a key file that an agent's --ike-log wrote; may be given again")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="for a program")] = False,
        show_keys: Annotated[bool, typer.Option(help="show the keys in KD, unwrapped where the file allows")] = False,
    ) -> None:
        """Print every IKE message on UDP ports 500, 848 and 4500: exchange, Message ID, flags and all payloads.

        GSA, KD, our own notifications and GSA_REKEY too, which other tools show as octets. Signatures are not verified.
        """
        from agents.decode import Decoder
        from agents.decode.text import lines
        from testbed.errors import InputError
        from testbed.probes.ike import ike_datagrams

        decoder = Decoder(_keys(keys or []), show_keys=show_keys)
        found: list[dict[str, Any]] = []
        count = 0
        try:
            for datagram in ike_datagrams(capture):
                count += 1
                message, time_s = decoder.message(datagram.data), datagram.time_ns / 1e9
                if as_json:
                    place = {"time_s": time_s, "source": datagram.source, "destination": datagram.destination}
                    found.append({**place, **({"cut": True} if datagram.cut else {}), **message.as_json()})
                else:
                    for line in lines(message, datagram.source, datagram.destination, time_s):
                        typer.echo(line)
                    if datagram.cut:
                        typer.echo("    the capture holds only a part of this datagram")
        except (ValueError, OSError) as error:
            raise InputError(
                str(error), where=str(capture), allowed="a pcap or pcapng file", next_command="lab capture --help"
            ) from error
        reports = [report.line() for report in decoder.reports()]
        if as_json:
            typer.echo(json.dumps({"messages": found, "sas": reports}, indent=1))
            return
        for line in reports or ([] if count else ["no IKE messages on UDP ports 500, 848 and 4500"]):
            typer.echo(line)


def _keys(paths: list[Path]) -> Any:
    from agents.decode import KeyFile, KeyFileError
    from testbed.errors import InputError, Location

    lines: list[str] = []
    for path in paths:
        try:
            KeyFile.read(path)
            lines += path.read_text(encoding="ascii").splitlines()
        except KeyFileError as error:
            raise InputError(
                error.problem,
                where=Location(path, error.line),
                allowed="lines of Wireshark's ikev2_decryption_table, as an agent's --ike-log writes them",
            ) from error
        except OSError as error:
            raise InputError(str(error.strerror), where=str(path), next_command="lab decode --help") from error
    return KeyFile(lines)
