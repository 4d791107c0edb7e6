"""Files: opening whatever a user gives, and writing whole or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from carousel.common.errors import InputError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # errors of a full disk, which do not name the file
HEAD = 1 << 16  # bytes by which a file is told; the root element of XML begins within them
SHOWN = 20  # characters of the file's name in the name of the partial file, which must not get too long

Source = str | os.PathLike[str] | BinaryIO | bytes  # a path, an open binary file or the bytes of a file


def source_name(source: Source) -> str:
    """A source as messages name it."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    name = getattr(source, "name", None)
    if name in (0, "<stdin>"):
        return "standard input"
    return name if isinstance(name, str) else f"the given {'bytes' if isinstance(source, bytes) else 'file'}"


def first_bytes(path: Path, size: int) -> bytes:
    """The beginning of a file; nothing where it cannot be read, of which reading it says why."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def open_source(source: Source, largest: int | None = None) -> BinaryIO:
    """A seekable binary file of at least one byte and at most `largest`, which the caller closes.

    A file is opened; a pipe, an open file (which stays open) and bytes are held in memory.
    Raises InputError naming the source when it is missing, empty, too large, a folder or a device.
    """
    name = source_name(source)
    try:
        if isinstance(source, bytes):
            file: BinaryIO = io.BytesIO(source)
        elif isinstance(source, str | os.PathLike):
            file = _open_path(Path(source), largest)
        else:
            file = _in_memory(source, largest)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file; correct the path") from None
    except TypeError:
        raise InputError(f"{name}: was opened as text; open it in binary mode") from None
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise InputError(f"{name}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    if size and (largest is None or size <= largest):
        return file
    file.close()
    if not size:
        raise InputError(f"{name}: is empty; copy it again")
    raise InputError(f"{name}: is larger than {(largest or 0) >> 20} MB; cut or reduce it")


def _open_path(path: Path, largest: int | None) -> BinaryIO:
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise InputError("is a folder; give a file in it")
    if stat.S_ISFIFO(kind):
        with path.open("rb") as pipe:
            return _in_memory(pipe, largest)
    if not stat.S_ISREG(kind):
        raise InputError("is a device; give a file or -")
    return path.open("rb")


def _in_memory(file: BinaryIO, largest: int | None) -> BinaryIO:
    return io.BytesIO(file.read(-1 if largest is None else largest + 1))


def read_source(source: Source, largest: int) -> bytes:
    """All bytes of a source; errors as of `open_source`."""
    with open_source(source, largest) as file:
        return file.read()


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
