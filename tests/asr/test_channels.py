"""The channels of a call, read apart, against each of them read alone."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carousel.asr import recording
from carousel.asr.channels import split
from carousel.asr.formats import FORMATS, cues, paragraphs
from carousel.asr.sound.read import read_channels, read_recording
from carousel.common.cli.inputs import Input
from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.domain import Transcript, Wanted
from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.model.file import Model
from carousel.common.recogniser import transcribe
from tests.asr.sound_files import RATE, tone
from tests.asr.test_transcribe import noise
from tests.tiny import tiny_model

APART = Wanted(channels=())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_file.load(tiny_model(tmp_path_factory.mktemp("model") / "m.safetensors", "speech"))


@pytest.fixture(scope="module")
def sides() -> tuple[np.ndarray, np.ndarray]:
    """Two voices in turn: left 0 to 2 s and 6 to 8 s, right 3 to 5 s."""
    silence = np.zeros(8 * RATE, np.float32)
    left, right = silence.copy(), silence.copy()
    left[: 2 * RATE], left[6 * RATE :] = noise(2, 1), noise(2, 2)
    right[3 * RATE : 5 * RATE] = noise(2, 3)
    return left, right


def call(*channels: np.ndarray) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.stack(channels, axis=1), RATE, format="WAV", subtype="FLOAT")
    return out.getvalue()


def read(model: Model, source: object, wanted: Wanted) -> Transcript:
    ((_, prepare),) = recording.open(source)
    return transcribe(model, [prepare(model.features, wanted)])[0]


@pytest.mark.parametrize("rate", [RATE, 8000])
def test_each_channel_is_what_its_own_file_is(tmp_path: Path, rate: int) -> None:
    waves = [tone(1.5, rate, hertz) for hertz in (300, 500, 700)]
    soundfile.write(tmp_path / "a.wav", np.stack(waves, axis=1), rate, subtype="FLOAT")
    found = list(read_channels(tmp_path / "a.wav"))
    assert [one.channels for one in found] == [3, 3, 3]
    for one, wave in zip(found, waves, strict=True):
        soundfile.write(tmp_path / "b.wav", wave, rate, subtype="FLOAT")
        np.testing.assert_array_equal(one.samples, read_recording(tmp_path / "b.wav").samples)


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(InputError, match="has 17 channels, and at most 16 are read apart"):
        list(read_channels(call(*[tone(0.1)] * 17)))


def test_a_call_is_its_channels_merged_by_time(model: Model, sides: tuple[np.ndarray, np.ndarray]) -> None:
    both = read(model, call(*sides), APART)
    assert both.about == {"duration": 8, "truncated": False, "channels": ["left", "right"]}
    for name, wave in zip(("left", "right"), sides, strict=True):
        alone = read(model, wave, Wanted()).words
        mine = [word for word in both.words if word.channel == name]
        assert [word[:3] for word in mine] == [word[:3] for word in alone] and len(mine) > 3
    assert both.text.split() == [word.text for word in both.words]
    shown = FORMATS["txt"].write(both, Input("call.wav", None, "call"), "m")
    assert [part.split(":")[0] for part in shown.split("\n\n")][:2] == ["left", "right"]


def test_names_stand_for_the_channels(model: Model, sides: tuple[np.ndarray, np.ndarray]) -> None:
    named = read(model, call(*sides), Wanted(channels=("agent", "caller")))
    assert {word.channel for word in named.words} == {"agent", "caller"}
    with pytest.raises(InputError, match="has 2 channels, and 3 names are given"):
        read(model, call(*sides), Wanted(channels=("a", "b", "c")))
    with pytest.raises(InputError, match="has one channel, and 2 names are given"):
        read(model, call(sides[0]), Wanted(channels=("a", "b")))


def test_one_channel_is_read_with_a_note(model: Model, sides: tuple[np.ndarray, np.ndarray]) -> None:
    ((_, prepare),) = recording.open(call(sides[0]))
    prepared = prepare(model.features, APART)
    assert prepared.notes == ("has one channel, so there is nothing to read apart",)
    assert {word.channel for word in transcribe(model, [prepared])[0].words} == {"1"}


def test_silent_channels_have_no_words(model: Model, sides: tuple[np.ndarray, np.ndarray]) -> None:
    quiet = np.zeros_like(sides[0])
    assert {word.channel for word in read(model, call(quiet, sides[1]), APART).words} == {"right"}
    assert read(model, call(quiet, quiet), APART).text == ""


def spoken(text: str, start: float, end: float, channel: str = "") -> Symbol:
    return Symbol(text, start, end, 0.5, None, channel)


def test_turns_are_parted_at_long_pauses() -> None:
    symbols = [
        spoken("a", 0, 1),
        spoken(" ", 1, 1.5),
        spoken("b", 1.5, 2),
        spoken(" ", 2, 3),
        spoken("c", 3, 4),
    ]
    assert ["".join(s.text for s in turn) for turn in split(symbols)] == ["a b", "c"]
    assert split([]) == []


def test_cues_of_a_call_do_not_overlap_and_tell_who_speaks() -> None:
    words = [spoken("one", 0, 3, "left"), spoken("two", 3.2, 6, "left")]
    words += [spoken("yes", 1, 1.4, "right"), spoken("no", 6.1, 6.3, "left"), spoken("so", 6.2, 6.4, "right")]
    found = cues(words, 10.0)
    said = ["left: one two", "right: yes", "left: no", "right: so"]
    assert [cue.lines for cue in found] == [(text,) for text in said]
    for one, two in pairwise(found):
        assert one.end <= two.start
    assert all(1 <= round(cue.end - cue.start, 6) <= 7 for cue in found)


def test_formats_name_the_channels() -> None:
    words = [spoken("yes", 1, 1.4, "right"), spoken(" ", 1.4, 2, ""), spoken("no", 2, 3, "left")]
    said = Transcript((Hypothesis(tuple(words), 0.0),), {"duration": 4.0, "channels": ["left", "right"]})
    item = Input("call.wav", None, "call")
    rows = FORMATS["ctm"].write(said, item, "m").splitlines()
    assert [row.split()[1] for row in rows] == ["left", "right"]
    assert '"channel": "right", "text": "yes"' in FORMATS["json"].write(said, item, "m")
    grid = FORMATS["textgrid"].write(said, item, "m")
    tiers = ["left words", "left characters", "right words", "right characters"]
    assert [line.split('"')[1] for line in grid.splitlines() if "name =" in line] == tiers


def test_paragraphs_end_at_pauses() -> None:
    long = [spoken("word", at, at + 0.4) for at in np.arange(0, 15, 0.5)]  # 150 characters
    after = [spoken("after", 17.0, 17.4), spoken("more", 20, 21)]
    found = paragraphs([*long, *after])
    assert [len(words) for words in found] == [30, 2]  # the second is too short for one of its own
    hour = [spoken("word", at, at + 0.4) for at in np.arange(0, 60, 0.5)]  # 600 characters
    assert [len(words) for words in paragraphs([*hour, spoken("after", 61.0, 61.4)])] == [120, 1]
    assert [len(words) for words in paragraphs([*hour, spoken("after", 60.5, 61)])] == [121]
    assert paragraphs([]) == []


def test_times_stand_before_paragraphs() -> None:
    words = [spoken("a" * 120, 0.2, 3), spoken(" ", 3, 3665), spoken("b", 3665.9, 3666)]
    said = Transcript((Hypothesis(tuple(words), 0.0),), {"duration": 3700.0})
    timed = FORMATS["txt"].timed
    assert timed is not None
    assert timed(said, Input("a", None, "a"), "m") == f"[00:00:00] {'a' * 120}\n\n[01:01:05] b\n"
