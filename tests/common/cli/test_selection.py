"""Which inputs a run takes, and what it tells of how far it is."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from carousel.asr.cli import main
from carousel.common.cli import selection, streams
from carousel.common.cli.inputs import Input
from carousel.common.cli.progress import Progress, minutes
from carousel.common.errors import InputError
from tests.asr.test_transcribe import noise
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "m.safetensors", "speech")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings a to e and one that is none."""
    (tmp_path / "in").mkdir()
    for seed, name in enumerate("abcde"):
        soundfile.write(tmp_path / "in" / f"{name}.wav", noise(0.5, seed), 16000)
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    return tmp_path


def run(*words: object) -> int:
    try:
        return main([str(word) for word in words])
    except SystemExit as left:
        return int(left.code or 0)


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


@given(st.integers(0, 40), st.integers(1, 9))
def test_shares_are_all_inputs_once_and_alike(total: int, count: int) -> None:
    inputs = [Input(str(number), None, str(number)) for number in range(total)]
    shares = [selection.share(inputs, SimpleNamespace(shard=(k, count))) for k in range(1, count + 1)]
    assert sorted(int(item.stem) for share in shares for item in share) == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_shards_write_what_one_run_writes(folder: Path, model: Path) -> None:
    options = ("--model", model, "-f", "txt,json,srt")
    assert run("transcribe", folder / "in", "-o", folder / "whole", *options) == 1  # bad.wav
    for k in (1, 2, 3):
        run("transcribe", folder / "in", "-o", folder / "shared", "--shard", f"{k}/3", *options)
    assert written(folder / "shared") == written(folder / "whole") and len(written(folder / "whole")) == 15
    for path in (folder / "whole").glob("*"):
        assert path.read_text() == (folder / "shared" / path.name).read_text()


def test_a_list_names_inputs_one_a_line(folder: Path, model: Path, capsys: pytest.CaptureFixture) -> None:
    names = folder / "list"
    names.write_bytes(f"{folder}/in/a.wav\r\n\n{folder}/in/b.wav".encode())
    assert run("transcribe", "--files-from", names, "--model", model) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"{folder}/in/{name}.wav" for name in "ab"
    ]


def test_a_list_comes_from_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a.wav\nb c.wav\n")))
    assert selection.listed("-") == ["a.wav", "b c.wav"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("transcribe", 2, "no recording was given"),
        ("transcribe a.wav --skip-existing", 2, "give --output DIR"),
        ("transcribe a.wav --shard 0/3", 2, "'0/3' is not K/N"),
        ("transcribe a.wav --shard 4/3", 2, "'4/3' is not K/N"),
        ("transcribe a.wav --shard 3", 2, "'3' is not K/N"),
        ("transcribe - --files-from -", 2, "not both"),
        ("transcribe --files-from nothing", 1, "--files-from nothing: cannot be read (no such file"),
        ("transcribe --files-from .", 1, "--files-from .: cannot be read (is a directory"),
        ("transcribe a.wav -f txt,json", 2, "give a folder with --output DIR"),
        ("transcribe a.wav -f txt,jsn", 2, "'txt,jsn' is not one of txt"),
        ("transcribe a.wav -f json --times", 2, "--times is for txt"),
        ("transcribe a.wav --channels left", 2, "'left' is not mix, split"),
        ("transcribe a.wav --channels a,a", 2, "'a,a' is not mix, split"),
        ("transcribe a.wav --channels split -f json --nbest 2", 2, "--nbest lists texts of one channel"),
    ],
)
def test_what_cannot_be_is_told(
    words: str,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words.split()) == status
    assert said in capsys.readouterr().err


def test_an_empty_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n \n")
    with pytest.raises(InputError, match="list: is no list of paths"):
        selection.listed(str(tmp_path / "list"))


def test_what_is_there_is_left_out_and_what_is_not_whole_is_done(
    folder: Path, model: Path, capsys: pytest.CaptureFixture
) -> None:
    """As after a run that was stopped: of b one format is missing, of c both."""
    out = folder / "out"
    words = ("transcribe", folder / "in", "-o", out, "--model", model, "-f", "txt,json")
    run(*words)
    whole = {path.name: path.read_text() for path in out.glob("*")}
    for name in ("b.json", "c.txt", "c.json"):
        (out / name).unlink()
    (out / "a.txt").write_text("kept\n")
    capsys.readouterr()
    run(*words, "--skip-existing")
    assert "note: 3 of 6 are done already and left out\n" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in out.glob("*")} == {**whole, "a.txt": "kept\n"}
    (folder / "in" / "bad.wav").unlink()
    assert run(*words, "--skip-existing") == 0
    assert "5 of 5 are done" in capsys.readouterr().err


def test_the_end_tells_how_much_and_how_fast(
    folder: Path, model: Path, capsys: pytest.CaptureFixture
) -> None:
    run("transcribe", folder / "in", "-o", folder / "out", "--model", model)
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("0:02 in ") and said[-1].endswith("× real time")
    assert not any("\r" in line or "left" in line for line in said)  # no terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_told_by_sizes_and_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = []
    for name, size in (("a", 100), ("b", 300), ("c", 600)):
        (tmp_path / name).write_bytes(bytes(size))
        inputs.append(Input(name, tmp_path / name, name))
    now = [0.0]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress(inputs, "recordings", True, clock=lambda: now[0])
    now[0] = 10.0
    progress.done(inputs[1], 3600.0)  # the first one has failed
    assert progress.line() == "2 of 3, 1.0 h, 360 × real time, 0:15 left"
    streams.say("note: a word between")
    now[0] = 20.0
    progress.done(inputs[2], 1800.0)
    progress.close(told=True)
    shown = terminal.getvalue()
    assert "\r\x1b[K2 of 3" in shown and "\r\x1b[Knote: a word" in shown
    assert shown.endswith("\r\x1b[K1:30:00 in 20 s, 270 × real time\n")


def test_lines_are_counted_where_there_is_no_sound(capsys: pytest.CaptureFixture) -> None:
    now = [0.0]
    inputs = [Input(str(number), None, str(number)) for number in range(1200)]
    progress = Progress(inputs, "lines", False, clock=lambda: now[0])
    for item in inputs:
        progress.done(item, None)
    now[0] = 2.0
    progress.close(told=True)
    assert capsys.readouterr().err == "1,200 lines in 2.0 s, 600 a second\n"


def test_minutes() -> None:
    assert [minutes(s) for s in (0, 7, 2412, 10809)] == ["0:00", "0:07", "40:12", "3:00:09"]
