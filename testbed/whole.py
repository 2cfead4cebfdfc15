"""Files of results that are seen whole or not at all. Knows nothing of their content."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def put(path: Path, data: bytes | str) -> None:
    """Replace a file, or make it, even if this process is killed meanwhile. OSError, which names `path`.

    A device or a pipe of that name is written to, and stays.
    """
    octets = data.encode() if isinstance(data, str) else data
    if path.exists() and not path.is_file():
        path.write_bytes(octets)  # a folder refuses
        return
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_bytes(octets)
        os.replace(fresh, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            fresh.unlink()  # an interrupt leaves nothing behind either
