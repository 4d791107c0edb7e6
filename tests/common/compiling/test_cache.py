"""A folder for numba's results, one for each state of the sources."""

import os
import subprocess
import sys

import pytest

from carousel.common.compiling.cache import KEPT, choose_folder


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
        "import sys; from pathlib import Path; from carousel.common.compiling.cache import choose_folder;"
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


# --- files of the cache ---

FAST = """
import sys
import carousel.common, numba

@numba.njit(cache=True)
def half(x):
    return x / 2

print([half(float(word)) if "." in word else half(int(word)) for word in sys.argv[1:]])
print(sum(half.stats.cache_hits.values()))
"""


@pytest.fixture
def start(tmp_path):
    """Starts a program whose one function numba keeps in tmp_path / "kept"."""
    (tmp_path / "fast.py").write_text(FAST)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NUMBA_CACHE_DIR": str(tmp_path / "kept"),
        "HOME": str(tmp_path),
    }

    def begin(*words: str) -> subprocess.Popen:
        call = [sys.executable, str(tmp_path / "fast.py"), *words]
        return subprocess.Popen(call, env=environment, text=True, stdout=-1, stderr=-1)

    return begin


def finish(process: subprocess.Popen) -> tuple[str, int]:
    """What it printed: values, and how many it found compiled."""
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    values, hits = out.splitlines()
    return values, int(hits)


def kept(tmp_path) -> list:
    return [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]


def test_a_damaged_file_is_compiled_again_once(start, tmp_path):
    assert finish(start("3")) == ("[1.5]", 0)
    assert finish(start("3")) == ("[1.5]", 1)
    whole = {path: path.read_bytes() for path in kept(tmp_path)}
    damages = [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"garbage" * 99,
        lambda data: data[:500] + bytes(byte ^ 255 for byte in data[500:600]) + data[600:],
    ]
    for damage in damages:
        for path, data in whole.items():
            path.write_bytes(damage(data))
        assert finish(start("3")) == ("[1.5]", 0)
        assert finish(start("3")) == ("[1.5]", 1)
    assert sorted(kept(tmp_path)) == sorted(whole)


def test_where_nothing_can_be_kept_it_compiles_each_time(start, tmp_path):
    assert finish(start("3")) == ("[1.5]", 0)
    for path in kept(tmp_path):
        path.unlink()
        path.mkdir()  # not even root can write a file there
    for _ in range(2):
        assert finish(start("3")) == ("[1.5]", 0)


def test_processes_that_compile_at_once_keep_what_each_has_compiled(start, tmp_path):
    processes = [start(word) for word in ("3", "3.5", "3", "3.5")]
    assert [finish(process)[0] for process in processes] == ["[1.5]", "[1.75]"] * 2
    assert finish(start("3", "3.5")) == ("[1.5, 1.75]", 2)
    assert len(kept(tmp_path)) == 2
