"""Files that options name: whether they are there, and writing them."""

from __future__ import annotations

from pathlib import Path

from carousel.common.errors import InputError, UsageError
from carousel.common.files import atomic_text, atomic_write
from carousel.common.options import LISTS, NONE


def check_file(option: str, path: Path) -> None:
    """Raises UsageError unless the file that an option names is there; a list can be none (NONE)."""
    if option in LISTS and str(path) == NONE:
        return
    if not path.is_file():
        what = "this is a folder; give a file" if path.is_dir() else "there is no such file"
        if path.exists() and not path.is_dir():
            what = "this is a pipe or a device, and it is read more than once; save it as a file"
        raise UsageError(f"--{option} {path}: {what}")


def check_picture(option: str, path: Path) -> None:
    """Raises UsageError for a picture that cannot be written."""
    _check_output(option, path, "picture", ".png")


def check_page(option: str, path: Path) -> None:
    """Raises UsageError for a page that cannot be written."""
    _check_output(option, path, "page", ".html")


def _check_output(option: str, path: Path, what: str, suffix: str) -> None:
    if path.suffix != suffix or path.is_dir():
        raise UsageError(f"--{option} {path}: the {what} is written as FILE{suffix}")
    if not path.parent.is_dir():
        raise UsageError(f"--{option} {path}: there is no folder {path.parent}; make it first")


def write_whole(path: Path, text: str | bytes) -> None:
    """Writes a file, whole or not at all; folders are made. Raises InputError where that cannot be."""
    make_folder(path.parent)
    try:
        if isinstance(text, bytes):
            with atomic_write(path, sync=False) as partial:
                partial.write_bytes(text)
            return
        with atomic_text(path, errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)}); give another --output") from error


def make_folder(folder: Path) -> None:
    """Makes a folder for the output, and those above it. Raises InputError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{folder}: is a file, so it cannot be a folder; give another --output") from None
    except OSError as error:
        raise InputError(
            f"{folder}: the folder cannot be made ({_reason(error)}); give another --output"
        ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
