"""Where and how numba keeps what it has compiled. Has to be known before numba is imported."""

import atexit
import contextlib
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

CACHING = "numba.core.caching"
DIGEST = hashlib.sha256().digest_size  # bytes at the end of each file
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


class Finder:
    """Of sys.meta_path: has `keep_checked` change numba's cache as soon as numba loads."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != CACHING:
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_change(module: ModuleType) -> None:
                load(module)
                keep_checked(module)

            spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def watch() -> None:
    """Makes numba's cache safe, whether numba is loaded already or will be."""
    if CACHING in sys.modules:
        keep_checked(sys.modules[CACHING])
    elif Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)


def keep_checked(caching: Any) -> None:
    """Has numba keep each compiled function in a file of its own, with a checksum.

    numba fails at a damaged file, at each start until somebody removes it, and two processes that write at
    once can mix up its numbered files. What cannot be read or written is compiled again.
    """

    class Checked(caching.IndexDataCacheFile):
        def _name(self, key: Any) -> str:
            digest = hashlib.sha256(repr((self._version, key)).encode()).hexdigest()
            return str(self._data_name(int(digest[:12], 16)))

        def save(self, key: Any, data: Any) -> None:
            from carousel.common.files import atomic_write

            content = self._dump((self._source_stamp, key, data))
            with atomic_write(Path(self._data_path(self._name(key))), sync=False) as partial:
                partial.write_bytes(content + hashlib.sha256(content).digest())

        def load(self, key: Any) -> Any:
            name = self._name(key)
            file = Path(self._data_path(name))
            if not file.is_file():
                return None
            content = file.read_bytes()
            if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
                file.unlink()
                return None
            stamp, found, data = self._load_data(name)  # the digest behind it is not read
            return data if (stamp, found) == (self._source_stamp, key) else None

    caching.IndexDataCacheFile = Checked
    caching.Cache._guard_against_spurious_io_errors = lambda self: contextlib.suppress(OSError)
