"""The servers that the tests of this folder share: loading models takes longer than the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from carousel.asr.cli import PROGRAM
    from tests.common.serve.running import server

    folder = tmp_path_factory.mktemp("corrections")
    limits = ("--max-mb", "2", "--max-seconds", "20", "--max-minutes", "2")
    with server(PROGRAM, "--corrections", str(folder), *limits) as address:
        yield address


@pytest.fixture(scope="session")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from carousel.hwr.cli import PROGRAM
    from tests.common.serve.running import server

    with server(PROGRAM, "--corrections", str(tmp_path_factory.mktemp("corrections"))) as address:
        yield address
