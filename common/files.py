"""Writing files, whole or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from carousel.common.errors import InputError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # what a disk without room says, without a name
SHOWN = 20  # characters of the name in that of the partial file: no file system has too long a name then


@contextmanager
def atomic_write(path: Path, sync: bool = True) -> Iterator[Path]:
    """An empty file to write to, in the same folder, which takes the place of `path` when the block is done.

    If the block fails, `path` is as before and nothing else is left. A link is followed, as by open(); a file
    that is there keeps its mode, a new one has that of the umask, however the block writes it. sync: onto the
    disk first, so that not even a crash of the machine leaves an empty file.
    Raises OSError that names `path`, InputError where safetensors cannot write.
    """
    from safetensors import SafetensorError  # late, for --help

    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name[:SHOWN]}-{os.urandom(4).hex()}.partial")
    try:
        mode = _mode(target)
        # O_EXCL: neither through a link nor over a file of somebody else
        file = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = stat.S_IMODE(os.fstat(file).st_mode) if mode is None else mode
        os.close(file)
        yield partial
        if stat.S_IMODE(partial.stat().st_mode) != mode:
            partial.chmod(mode)
        if sync:
            with partial.open("rb+") as written:
                os.fsync(written.fileno())
        partial.replace(target)
    except OSError as error:
        if error.errno in FULL or error.filename in (partial, str(partial), str(target)):
            error.filename, error.filename2 = str(path), None
        raise
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be written ({' '.join(str(error).split())})") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _mode(path: Path) -> int | None:
    """The mode of a file that is there. Raises OSError for a folder or device: nothing takes their place."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Is not a regular file", str(path))
    return stat.S_IMODE(mode)


@contextmanager
def atomic_text(path: Path, errors: str = "strict") -> Iterator[IO[str]]:
    """`atomic_write` of a text in UTF-8, lines as they are; gzipped where the name ends in .gz."""
    with atomic_write(path, sync=False) as partial, partial.open("wb") as raw:
        zipped = gzip.GzipFile(path.name, "wb", fileobj=raw) if path.suffix == ".gz" else raw
        with zipped, io.TextIOWrapper(zipped, "utf-8", errors, newline="\n") as text:
            yield text
