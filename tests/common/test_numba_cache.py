"""A folder for numba's results, one for each state of the sources."""

import os
import subprocess
import sys

import pytest

from common.numba_cache import KEPT, choose_folder


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "package"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.py").write_text("x = 1\n")
    (folder / "deep" / "two.py").write_text("y = 2\n")
    return folder


def test_the_folder_is_another_one_when_any_source_changes(sources):
    first = choose_folder(sources)
    assert first.parent == sources / "__pycache__" and first.is_dir()
    assert choose_folder(sources) == first
    (sources / "deep" / "two.py").write_text("y = 3\n")
    assert choose_folder(sources) != first


def test_sources_that_cannot_be_written_to_have_it_in_the_users_cache(sources, tmp_path):
    (sources / "__pycache__").write_text("a file where the folder would be")
    assert choose_folder(sources).parent == tmp_path / "home" / ".cache" / "carousel"


def test_without_any_place_it_is_for_this_process(sources, tmp_path):
    """It is gone afterwards."""
    (sources / "__pycache__").touch()
    (tmp_path / "home").touch()
    program = (
        "import sys; from pathlib import Path; from common.numba_cache import choose_folder;"
        "folder = choose_folder(Path(sys.argv[1])); print(folder, folder.is_dir())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    call = [sys.executable, "-c", program, str(sources)]
    folder, there = subprocess.run(
        call, check=True, capture_output=True, text=True, env=environment
    ).stdout.split()
    assert there == "True" and folder.startswith(str(tmp_path)) and not os.path.exists(folder)


def test_only_the_last_states_are_kept(sources):
    folders = []
    for number in range(KEPT + 2):
        (sources / "one.py").write_text(f"x = {number}\n")
        folders.append(choose_folder(sources))
        os.utime(folders[-1], (number, number))
    assert [folder.exists() for folder in folders] == [False] * 2 + [True] * KEPT
