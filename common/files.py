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

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # errors of a full disk, which do not name the file
SHOWN = 20  # characters of the file's name in the name of the partial file, which must not get too long


@contextmanager
def atomic_write(path: Path, sync: bool = True) -> Iterator[Path]:
    """A new file in the same folder to write to, which replaces `path` when the block is done.

    If the block fails, `path` is as before and nothing else is left. Links are followed, as by open(). A file
    that exists keeps its mode; a new one gets the mode of the umask. sync: flush to the disk first, so that
    not even a crash of the machine leaves an empty file.
    Raises OSError that names `path`, and InputError where safetensors cannot write.
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
    """The mode of a file, None if there is none. Raises OSError for a folder or device: they stay."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Is not a regular file", str(path))
    return stat.S_IMODE(mode)


@contextmanager
def atomic_text(path: Path, errors: str = "strict") -> Iterator[IO[str]]:
    """`atomic_write` of a text in UTF-8, lines end as they are given; gzipped if the name ends in .gz."""
    with atomic_write(path, sync=False) as partial, partial.open("wb") as raw:
        zipped = gzip.GzipFile(path.name, "wb", fileobj=raw) if path.suffix == ".gz" else raw
        with zipped, io.TextIOWrapper(zipped, "utf-8", errors, newline="\n") as text:
            yield text
