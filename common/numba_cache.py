"""Where numba keeps what it has compiled. Has to be known before numba is imported."""

import atexit
import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

KEPT = 4  # folders, of the states of the sources that were used last


def choose_folder(sources: Path) -> Path:
    """A folder for what numba compiles of these sources, another one for each state of them: numba itself
    notices a change of the file that a function is in, but not of those whose functions it uses.

    It is beside the sources, or in the user's cache if they are not to be written to; failing both, it is for
    this process alone, and each compiles anew.
    """
    contents = (source.read_bytes() for source in sorted(sources.rglob("*.py")))
    name = f"numba-{hashlib.sha256(b''.join(contents)).hexdigest()[:16]}"
    for parent in (sources / "__pycache__", Path("~/.cache/carousel")):
        try:
            folder = parent.expanduser() / name
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                os.utime(folder)
                _forget(folder.parent)
                return folder
        except (OSError, RuntimeError):  # RuntimeError: there is no home
            continue
    folder = Path(tempfile.mkdtemp(prefix="carousel-numba-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _forget(parent: Path) -> None:
    """Deletes all but the folders that were used last. A process that still uses one makes it again."""
    with contextlib.suppress(OSError):  # another process does the same
        folders = sorted(parent.glob("numba-*"), key=lambda folder: folder.stat().st_mtime)
        for folder in folders[:-KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
