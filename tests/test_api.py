"""`import carousel`: what it gives is what the commands print, for every kind of input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import carousel
from carousel.asr.cli import main as asr
from carousel.asr.domain import SPEECH
from carousel.common.errors import InputError, UsageError
from carousel.common.options import Decoding
from carousel.hwr.cli import main as hwr
from carousel.hwr.domain import IMAGE
from carousel.recogniser import Recogniser
from tests.hwr.drawn_pages import written
from tests.tiny import tiny_model

DIGITS, LINE, WORD = SPEECH.samples / "digits.wav", IMAGE.samples / "line.png", IMAGE.samples / "word.json"


@pytest.fixture(scope="module")
def speech() -> Recogniser:
    return carousel.load("speech", device="cpu")


@pytest.fixture(scope="module")
def lines() -> Recogniser:
    return carousel.load("lines")


def told(capsys: pytest.CaptureFixture, command, *words: object) -> dict:
    assert command([*map(str, words), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def placed(symbols, key: str = "text") -> list[tuple]:
    """Of words of ours or of the command's the text and the place, rounded as the command rounds."""
    rows = []
    for s in symbols:
        if isinstance(s, dict):
            rows.append((s[key], s["box"] if "box" in s else [s["start"], s["end"]]))
        else:
            rows.append(
                (s.text, [round(x, 2) for x in s.box] if s.box else [round(s.start, 3), round(s.end, 3)])
            )
    return rows


def test_it_is_imported_at_once_and_heavy_packages_are_not():
    heavy = {"torch", "numpy", "scipy", "PIL", "soundfile", "hydra", "numba"}
    code = f"import sys, carousel; print({heavy} & sys.modules.keys(), sorted(carousel.__all__)[0])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set() Decoding\n"
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        _ = carousel.magic
    assert carousel.Decoding is Decoding and carousel.InputError is InputError


def test_a_recording_is_read_as_by_the_command(speech, capsys):
    read = told(capsys, asr, "transcribe", DIGITS, "--nbest", 3, "--device", "cpu")
    found = speech.transcribe(DIGITS, nbest=3)
    assert found.text == read["text"] == "THREE ONE FOUR NINE ZERO"
    assert placed(found.words) == placed(read["words"]) and len(found.words) == 5
    assert [round(w.confidence, 4) for w in found.words] == [w["confidence"] for w in read["words"]]
    assert [r.text for r in found.readings] == [r["text"] for r in read["nbest"]]
    assert len(found.readings) == 3 and round(found.confidence, 4) == read["confidence"]


@pytest.mark.parametrize("kind", ["path", "bytes", "float", "int16", "other rate", "stream"])
def test_every_way_to_give_a_recording_gives_the_same_text(kind, speech):
    wave, rate = soundfile.read(DIGITS, dtype="float32")
    if kind == "stream":
        stream = speech.stream(sample_rate=rate)
        for start in range(0, len(wave), 5000):
            stream.feed(wave[start : start + 5000])
        assert placed(stream.close().words) == placed(speech.transcribe(DIGITS).words)
        with pytest.raises(InputError, match="nothing was fed"):
            stream.close()
        return
    source, given = {
        "path": (str(DIGITS), None),
        "bytes": (DIGITS.read_bytes(), None),
        "float": (wave, rate),
        "int16": ((wave * 32767).astype(np.int16), rate),
        "other rate": (np.repeat(wave, 2), 2 * rate),
    }[kind]
    assert speech.recognise(source, sample_rate=given).text == "THREE ONE FOUR NINE ZERO"


def test_writing_is_read_as_by_the_command(lines, capsys):
    from carousel.hwr.image.file import read_image

    read = told(capsys, hwr, "recognise", LINE)
    found = lines.recognise(LINE)
    assert found.text == read["text"] and placed(found.words) == placed(read["words"])
    assert found.words[0].box and found.about == {"domain": "image"}
    assert placed(lines.recognise(read_image(LINE)).words) == placed(read["words"])
    ink = carousel.load("ink")
    read = told(capsys, hwr, "recognise", WORD)
    strokes = json.loads(WORD.read_text())["strokes"]
    for source in (WORD, WORD.read_bytes(), strokes):
        assert placed(ink.recognise(source).words) == placed(read["words"])
    with pytest.raises(InputError, match="reads pen strokes"):
        ink.recognise(LINE)


def test_a_page_is_one_transcript_with_its_lines(lines):
    grey, boxes = written()
    page = lines.recognise(grey)
    assert page.text.count("\n") == len(boxes) - 1 and len(page.about["lines"]) == len(boxes)
    tops = np.array([word.box[1] for word in page.words])
    assert tops.min() > boxes[0, 1] - 15 and tops.max() > boxes[-1, 1] - 15
    assert "lines" not in lines.recognise(grey, layout="line").about
    with pytest.raises(InputError, match="layout is 'column'"):
        lines.recognise(grey, layout="column")


def test_align_and_spot_are_those_of_the_commands(speech, lines, capsys):
    text = "THREE ONE FOUR NINE ZERO"
    read = told(capsys, asr, "align", DIGITS, "--text", text, "--device", "cpu")
    found = carousel.align(DIGITS, text, speech)
    assert placed(found.words) == placed(read["words"]) and round(found.best.score, 4) == read["score"]
    read = told(capsys, hwr, "align", LINE, "--text", "Seven letters!", "--skip-unknown")
    assert placed(lines.align(LINE, "Seven letters!", skip_unknown=True).words) == placed(read["words"])
    read = told(capsys, asr, "spot", "FOUR,ONE", DIGITS, "--device", "cpu")
    found = carousel.spot(DIGITS, ["FOUR", "ONE"], speech)
    assert placed(found) == placed(read["spotted"], "word") and len(found) == 2
    assert [round(s.confidence, 4) for s in found] == [s["score"] for s in read["spotted"]]
    assert carousel.spot(DIGITS, ["SEVEN"], speech) == []
    assert len(carousel.spot(DIGITS, ["SEVEN"], speech, threshold=0.0)) > 0


def test_options_of_the_search_reach_it(speech, tmp_path, capsys):
    (tmp_path / "words").write_text("NINE\nZERO\n")
    (tmp_path / "hot").write_text("ZERO\t20\n")
    only = speech.transcribe(DIGITS, Decoding(lexicon=tmp_path / "words"))
    assert set(only.text.split()) <= {"NINE", "ZERO"}
    read = told(capsys, asr, "transcribe", DIGITS, "--hotwords", tmp_path / "hot", "--device", "cpu")
    assert read["score"] > 15
    for options, words in ((None, tmp_path / "hot"), (Decoding(hotword_weight=20), ["ZERO"])):
        found = speech.transcribe(DIGITS, options, hotwords=words)
        assert found.best.score == pytest.approx(read["score"], abs=1e-4)
    with pytest.raises(UsageError, match="hotword-weight needs hotwords"):
        speech.transcribe(DIGITS, Decoding(hotword_weight=2))
    with pytest.raises(UsageError, match="does not search"):
        speech.transcribe(DIGITS, Decoding(decoder="greedy"), beam=4)


def test_a_file_and_a_shipped_name_are_models(tmp_path, capsys):
    path = tiny_model(tmp_path / "tiny.safetensors", "ink")
    own = carousel.load(path)
    assert own.domain.name == "ink" and own.model.path == path
    assert own.recognise(WORD).text == told(capsys, hwr, "recognise", WORD, "--model", path)["text"]
    assert carousel.load("lines-latin").domain.name == "image"
    with pytest.raises(InputError, match=r"nowhere: there is no such model.*speech, lines"):
        carousel.load("nowhere")


def test_what_cannot_be_read_is_one_sentence_with_its_name(speech, lines, tmp_path):
    for source in (tmp_path / "gone.wav", Path(__file__)):
        with pytest.raises(InputError, match=source.name) as error:
            speech.transcribe(source)
        assert str(error.value).count(source.name) == 1
    with pytest.raises(InputError, match="the input: only 3 samples long"):
        speech.transcribe(np.zeros(3))
    with pytest.raises(InputError, match="NaN"):
        speech.transcribe(np.full(16000, np.nan))
    with pytest.raises(InputError, match=r"array \(samples,\)"):
        speech.transcribe(np.zeros((100, 2)))
    with pytest.raises(InputError, match="must be grey"):
        lines.recognise(np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(InputError, match="reads no stream"):
        lines.stream()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(DIGITS.read_bytes()[:-8000])
    with pytest.warns(UserWarning, match=r"cut\.wav: is truncated"):
        assert speech.transcribe(cut).about["truncated"]
