"""Files that are opened whatever a user gives, and written whole or not at all by every writer."""

import csv
import gzip
import io
import os
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from carousel.common import plots as draw
from carousel.common.cli.files import write_whole
from carousel.common.data.manifest import write_manifest
from carousel.common.errors import InputError
from carousel.common.files import atomic_text, atomic_write, open_source, source_name
from carousel.common.language import ngram_files
from carousel.common.language.kneser_ney import estimate
from carousel.common.model import file as model_file
from carousel.common.model.onnx_export import export
from carousel.common.train.checkpoint import save_checkpoint
from carousel.common.train.validation import report
from tests.common.language.test_lstm import model as language_model
from tests.tiny import tiny_model

ROW = {"epoch": 1, "train_loss": 1.0, "frames_per_second": 1.0, "minutes": 0.1, "unvaried": 0}


def checkpoint(path: Path) -> None:
    layer = torch.nn.Linear(20, 20)
    save_checkpoint(path, layer.state_dict(), {}, torch.optim.SGD(layer.parameters(), 0.1), {})


def onnx(path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    export(model_file.load(tiny_model(path.parent / "source.safetensors", "ink")), path)


def noted(path: Path) -> None:
    if not path.exists():
        tiny_model(path, "ink")
    model_file.note(path, licence="CC0-1.0")


WRITERS: dict[str, Callable[[Path], object]] = {
    "model.safetensors": lambda path: tiny_model(path, "ink"),
    "noted.safetensors": noted,
    "last.safetensors": checkpoint,
    "lstm.safetensors": lambda path: language_model().save(path),
    "ngram.safetensors": lambda path: ngram_files.save(estimate(["abc"] * 9, 2), path),
    "ngram.arpa": lambda path: ngram_files.save(estimate(["abc"] * 9, 2), path),
    "ngram.arpa.gz": lambda path: ngram_files.save(estimate(["abc"] * 9, 2), path),
    "model.onnx": onnx,
    "text.txt": lambda path: write_whole(path, "x" * 1000),
    "train.jsonl": lambda path: write_manifest(path, [{"text": "a" * 1000}]),
    "train.jsonl.gz": lambda path: write_manifest(path, [{"text": os.urandom(1000).hex()}]),
    "curves.png": lambda path: draw.draw_curves([ROW], path),
    "metrics.csv": lambda path: report(path.parent, [ROW] * 20, 0.0),
}


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def full() -> Iterator[None]:
    """A disk without room: no file grows beyond 100 bytes."""
    deaf, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, deaf)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_new_file_has_the_mode_of_the_umask_and_an_old_one_keeps_its_own(name, tmp_path, umask):
    path = tmp_path / name
    WRITERS[name](path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    WRITERS[name](path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert names(tmp_path) <= {name, "source.safetensors", "curves.png"}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_through_a_link_that_waits_in_the_folder(name, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for trap in (f"{name}.partial", f"partial-{name}"):
        (tmp_path / trap).symlink_to(victim)
    WRITERS[name](tmp_path / name)
    assert victim.read_text() == "mine" and not (tmp_path / name).is_symlink()


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_in_its_place_stays_and_the_file_behind_it_is_written(name, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / name).symlink_to(Path("disk", name))  # to a file that is not there yet
    for _ in range(2):
        WRITERS[name](tmp_path / name)
        assert (tmp_path / name).is_symlink() and (tmp_path / "disk" / name).stat().st_size > 20


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_what_was_there(name, tmp_path, request):
    if name == "model.onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra onnx")
        model = model_file.load(tiny_model(tmp_path / "source.safetensors", "ink"))
        write: Callable[[Path], object] = lambda path: export(model, path)  # noqa: E731
    else:
        write = WRITERS[name]
    write(tmp_path / name)
    before, there = (tmp_path / name).read_bytes(), names(tmp_path)
    request.getfixturevalue("full")
    with pytest.raises((OSError, InputError)) as error:
        write(tmp_path / name)
    assert name in str(error.value) and ".partial" not in str(error.value)
    assert (tmp_path / name).read_bytes() == before and names(tmp_path) == there


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), atomic_text(path) as file:  # noqa: PT012
            csv.writer(file).writerow([1, 2])
            raise error
    assert path.read_text() == "old" and names(tmp_path) == {"a.csv"}


def test_the_longest_name_that_a_file_can_have_is_written(tmp_path):
    for name in ("n" * 251 + ".txt", "ä" * 125 + ".json", "." + "s" * 254):
        write_whole(tmp_path / name, "text")
        assert names(tmp_path) >= {name} and (tmp_path / name).read_text() == "text"


def test_two_writers_at_once_do_not_share_a_partial_file(tmp_path):
    with atomic_write(tmp_path / "a") as one, atomic_write(tmp_path / "a") as two:
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "a").read_text() == "one" and names(tmp_path) == {"a"}


@pytest.mark.parametrize("kind", ["device", "fifo", "folder", "missing", "loop"])
def test_what_cannot_be_written_is_named_and_stays(kind, tmp_path):
    path = tmp_path / "a"
    if kind == "device":
        path.symlink_to(os.devnull)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path = path / "b"
    before = names(tmp_path)
    with pytest.raises(OSError, match=str(path)), atomic_write(path) as partial:
        partial.write_text("new")
    assert names(tmp_path) == before and not Path(os.devnull).is_file()


def test_gzip_names_the_file_and_not_the_partial_one(tmp_path):
    write_manifest(tmp_path / "a.jsonl.gz", [{"text": "x"}])
    raw = (tmp_path / "a.jsonl.gz").read_bytes()
    assert b"a.jsonl\0" in raw[:30] and gzip.decompress(raw) == b'{"text": "x"}\n'


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path / "gone", r"gone: there is no such file; correct the path"),
        (lambda path: path, r"is a folder; give a file in it"),
        (lambda path: "a\0b", r"cannot be opened"),
        (lambda path: Path(os.devnull), r"is a device; give a file or -"),
        (lambda path: b"", r"the given bytes: is empty; copy it again"),
        (lambda path: bytes(2**20 + 1), r"the given bytes: is larger than 1 MB; cut or reduce it"),
        (lambda path: io.StringIO("text"), r"the given file: was opened as text; open it in binary mode"),
    ],
)
def test_what_cannot_be_opened_is_named(tmp_path: Path, make, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        open_source(make(tmp_path), 2**20)
    assert "\n" not in str(caught.value)


def test_every_source_is_opened_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    with path.open("rb") as mine:
        for source in (path, str(path), b"abc", io.BytesIO(b"abc"), mine):
            with open_source(source) as file:
                assert file.seekable() and file.read() == b"abc"
        assert not mine.closed and source_name(mine) == str(path)
