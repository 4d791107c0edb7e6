"""Every format is read back by a parser written from its specification, and must give what was put in."""

import html
import json
import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.asr import formats
from carousel.common.cli.formats import as_json, txt
from carousel.common.cli.inputs import Input
from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.domain import Transcript

ITEM = Input("a.wav", None, "a")
LETTERS = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=100)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Words on a grid of 10 ms, as a decoder gives them: in order, none empty, far apart or touching."""
    words, now = [], 0
    for text in draw(st.lists(LETTERS, max_size=30)):
        start = now + draw(st.integers(0, 500))
        now = start + draw(st.integers(len(text), 2 * len(text) + 300))  # a symbol takes a frame at least
        words.append((text, start / 100, now / 100))
    return transcript_of(now / 100 + draw(st.integers(0, 300)) / 100, reading(words))


def transcript_of(duration: float, *readings: Hypothesis) -> Transcript:
    return Transcript(readings, {"duration": duration, "truncated": False})


def reading(words: list[tuple[str, float, float]], score: float = -1.0) -> Hypothesis:
    symbols: list[Symbol] = []
    for text, start, end in words:
        if symbols:
            symbols.append(Symbol(" ", symbols[-1].end, start, 1.0))
        step = (end - start) / len(text)
        symbols += [Symbol(c, start + i * step, start + (i + 1) * step, 0.5) for i, c in enumerate(text)]
    return Hypothesis(tuple(symbols), score)


def seconds(stamp: str, point: str) -> float:
    match = re.fullmatch(rf"(\d\d+):([0-5]\d):([0-5]\d){re.escape(point)}(\d\d\d)", stamp)
    assert match, stamp
    hours, minutes, whole, thousandths = map(int, match.groups())
    return hours * 3600 + minutes * 60 + whole + thousandths / 1000


def parse_srt(text: str) -> list[tuple[float, float, list[str]]]:
    found = []
    for number, block in enumerate(text.removesuffix("\n").split("\n\n") if text else [], start=1):
        index, times, *lines = block.split("\n")
        assert int(index) == number
        start, end = times.split(" --> ")
        found.append((seconds(start, ","), seconds(end, ","), lines))
    return found


def parse_vtt(text: str) -> list[tuple[float, float, list[str]]]:
    assert text.startswith("WEBVTT\n")
    found = []
    for block in text.removesuffix("\n").split("\n\n")[1:]:
        times, *lines = block.split("\n")
        start, end = times.split(" --> ")
        found.append((seconds(start, "."), seconds(end, "."), lines))
    return found


def check_cues(found: list[tuple[float, float, list[str]]], transcript: Transcript) -> None:
    said = "".join(transcript.best.text.split())
    assert "".join("".join("".join(lines).split()) for _, _, lines in found) == said
    for start, end, lines in found:
        assert start < end
        assert 1 <= len(lines) <= 2
        assert all(0 < len(line) <= 42 for line in lines)
    for (_, end, _), (start, _, _) in pairwise(found):
        assert end <= start


@given(transcripts())
def test_srt_can_be_parsed_and_shows_every_word_once_in_time(transcript):
    if "-->" not in transcript.best.text:
        check_cues(parse_srt(formats.srt(transcript, ITEM, "m")), transcript)


@given(transcripts())
def test_vtt_can_be_parsed_and_shows_every_word_once_in_time(transcript):
    written = formats.vtt(transcript, ITEM, "m")
    assert not re.search(r"&(?!amp;|lt;|gt;)", written)
    body = [line for line in written.split("\n") if " --> " not in line]
    assert not any("<" in line or ">" in line for line in body)
    unescaped = [(a, b, [html.unescape(line) for line in lines]) for a, b, lines in parse_vtt(written)]
    check_cues(unescaped, transcript)


@given(transcripts())
def test_tsv_has_the_cues_of_srt_in_whole_milliseconds_with_their_confidence(transcript):
    header, *rows = formats.tsv(transcript, ITEM, "m").removesuffix("\n").split("\n")
    assert header == "start\tend\ttext\tconfidence"
    found = []
    whole = 1.0
    for row in rows:
        start, end, text, confidence = row.split("\t")
        whole *= float(confidence)
        found.append((int(start) / 1000, int(end) / 1000, [text]))
    cues = formats.cues(transcript.words, transcript.about["duration"])
    assert [(start, end, text) for start, end, (text,) in found] == [
        (round(cue.start * 1000) / 1000, round(cue.end * 1000) / 1000, " ".join(cue.lines)) for cue in cues
    ]
    assert whole == pytest.approx(math.prod(w.confidence for w in transcript.words), abs=1e-3)


@given(transcripts())
def test_ctm_has_one_word_a_line_at_its_time(transcript):
    lines = formats.ctm(transcript, Input("a.wav", None, "my recording"), "m").splitlines()
    assert len(lines) == len(transcript.words)
    for line, word in zip(lines, transcript.words, strict=True):
        name, channel, start, length, text, confidence = line.split(" ")
        assert (name, channel, text) == ("my_recording", "1", word.text)
        assert float(start) == pytest.approx(word.start, abs=1e-3)
        assert float(start) + float(length) == pytest.approx(word.end, abs=2e-3)
        assert 0 <= float(confidence) <= 1


@given(transcripts())
def test_json_round_trips_words_and_symbols(transcript):
    written = as_json(transcript, ITEM, "speech-en")
    assert written.count("\n") == 1  # one line, so that several transcripts are JSONL
    read = json.loads(written)
    assert read["file"] == "a.wav" and read["model"] == "speech-en"
    assert read["text"] == transcript.best.text == "".join(symbol["text"] for symbol in read["symbols"])
    assert [word["text"] for word in read["words"]] == read["text"].split()
    assert (read["confidence"] is None) == (read["text"] == "")
    for item in read["words"] + read["symbols"]:
        assert 0 <= item["start"] <= item["end"] <= read["duration"] + 1e-3


@given(st.floats(0, 1e6), st.sampled_from(",."))
def test_clock_says_the_seconds_to_the_nearest_millisecond(value, point):
    assert seconds(formats.clock(value, point), point) == pytest.approx(value, abs=0.000501)


def test_clock_carries_into_minutes_and_hours():
    assert formats.clock(0, ",") == "00:00:00,000"
    assert formats.clock(59.9996, ".") == "00:01:00.000"
    assert formats.clock(3599.9999, ",") == "01:00:00,000"
    assert formats.clock(360000.5, ".") == "100:00:00.500"


def test_a_pause_starts_a_new_cue_and_a_short_cue_stays_to_be_read():
    words = reading([("one", 0.0, 0.2), ("two", 0.5, 0.7), ("three", 2.0, 2.1)]).words()
    first, second = formats.cues(words, 10.0)
    assert (first.lines, first.start, first.end) == (("one two",), 0.0, 1.0)
    assert (second.lines, second.start, second.end) == (("three",), 2.0, 3.0)


def test_a_short_cue_ends_where_the_next_one_starts_or_the_recording_ends():
    words = reading([("one", 0.0, 0.1), ("two", 0.95, 1.0)]).words()
    first, second = formats.cues(words, 1.2)
    assert first.end == 0.95 and second.end == 1.2


def test_a_cue_breaks_when_two_lines_are_full():
    quick = reading([("abcdefghi", i / 2, i / 2 + 0.4) for i in range(9)]).words()
    lines = [cue.lines for cue in formats.cues(quick, 9)]
    four = "abcdefghi abcdefghi abcdefghi abcdefghi"
    assert lines == [(four, four), ("abcdefghi",)]


def test_a_cue_stands_no_longer_than_seven_seconds():
    words = reading([("a", i, i + 0.9) for i in range(20)]).words()
    found = formats.cues(words, 20)
    assert len(found) == 3 and all(cue.end - cue.start <= formats.LONGEST_CUE for cue in found)


def test_empty_transcripts():
    empty = transcript_of(3.0, Hypothesis((), 0.0))
    assert txt(empty, ITEM, "m") == "\n"
    assert formats.srt(empty, ITEM, "m") == ""
    assert formats.vtt(empty, ITEM, "m") == "WEBVTT\n"
    assert formats.tsv(empty, ITEM, "m") == "start\tend\ttext\tconfidence\n"
    assert formats.ctm(empty, ITEM, "m") == ""
    assert json.loads(as_json(empty, ITEM, "m"))["words"] == []


def test_json_lists_the_n_best_texts():
    both = transcript_of(1.0, reading([("one", 0, 1)], -1.0), reading([("won", 0, 1)], -2.5))
    read = json.loads(as_json(both, ITEM, "m"))
    assert [(entry["text"], entry["score"]) for entry in read["nbest"]] == [("one", -1.0), ("won", -2.5)]
