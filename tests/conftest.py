"""What every test shares: where the corpora are, and one thread per process so that runs repeat."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("carousel", deadline=None)  # whichever example is first compiles or loads something
settings.load_profile("carousel")

# Before torch or numpy start their thread pools: two pools on few cores fight each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Skips what decodes with pyctcdecode where it is not installed, as on Python 3.13 (pyproject.toml)."""
    absent = pytest.mark.skip(reason="needs pyctcdecode, and so Python below 3.13")
    for item in items if find_spec("pyctcdecode") is None else ():
        if "pyctcdecode" in item.name and "missing" not in item.name:
            item.add_marker(absent)


def corpus(name: str) -> Path:
    """The folder of one corpus, as published; skips the test where the corpus is not at hand."""
    corpora = Path(os.environ.get("CAROUSEL_CORPORA", REPOSITORY.parent / "shared" / "corpora"))
    folder = corpora / name
    if not folder.is_dir():
        pytest.skip(f"needs the corpus {name}; set CAROUSEL_CORPORA to the folder that holds it")
    return folder
