"""Speech that is read while it comes: what has settled stays, and is what the whole recording says."""

import io
import subprocess
import sys
import wave
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import carousel
from carousel.asr import stream
from carousel.asr.cli import main
from carousel.asr.live import Live
from carousel.asr.sound.read import read_audio
from carousel.common.data.manifest import read_manifest
from carousel.common.errors import InputError
from carousel.common.text.metrics import error_rates
from tests.common.serve.test_server import DIGITS, SAID
from tests.conftest import corpus
from tests.recipes.command import prepare
from tests.tiny import tiny_model

RATE = 16000


@pytest.fixture(scope="module")
def speech() -> carousel.Recogniser:
    return carousel.load("speech-en-commands")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", "speech", name="tiny")
    return carousel.load(path)


def fed(live: Live, sound: np.ndarray, block: int = 1600) -> list[str]:
    """What had settled after each block."""
    found = []
    for start in range(0, len(sound), block):
        live.feed(sound[start : start + block])
        found.append(live.settled)
    return found


def wav(
    samples: np.ndarray, rate: int = RATE, width: int = 2, channels: int = 1, count: int | None = None
) -> bytes:
    """A WAV file of floats, or a stream whose header says another count of frames."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, width, rate, 0, "NONE", ""))
        whole = np.rint(samples * (2 ** (8 * width - 1) - 1)).astype("<i4")
        out.writeframes(whole.view(np.uint8).reshape(-1, 4)[:, :width].tobytes())
    data = bytearray(file.getvalue())
    if count is not None:
        data[40:44] = (count * width * channels).to_bytes(4, "little")
    return bytes(data)


@given(
    st.integers(0, 2**32 - 1), st.integers(500, 20_000), st.floats(0, 3), st.sampled_from(["greedy", "beam"])
)
@settings(max_examples=4, deadline=None)
def test_what_has_settled_is_never_taken_back(tiny, seed, block, delay, decoder) -> None:
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.integers(0, 2, 24), RATE // 4)  # speech of noise, with pauses
    sound = (rng.normal(0, 0.1, len(loud)) * np.where(loud, 1, 0.001)).astype(np.float32)
    live = Live(tiny.model, {"decoder": decoder}, delay)
    before = ""
    for text in [*fed(live, sound, block), live.close().text]:
        assert text.startswith(before)
        before = text


def test_with_no_end_of_delay_it_is_the_whole_recording(speech) -> None:
    sound = read_audio(DIGITS)
    live = Live(speech.model, {}, delay=100.0)
    assert set(fed(live, sound)) == {""}
    said, whole = live.close(), speech.transcribe(sound)
    assert said.text == whole.text == SAID
    assert [(w.text, w.start, w.end) for w in said.words] == [(w.text, w.start, w.end) for w in whole.words]
    assert said.confidence == pytest.approx(whole.confidence)


def test_text_settles_before_the_end_and_stretches_end_in_pauses(speech) -> None:
    sound = read_audio(DIGITS)
    quiet = np.random.default_rng(0).normal(0, 1e-4, 2 * RATE).astype(np.float32)
    live = Live(speech.model, {}, delay=1.0)
    settled = fed(live, np.concatenate([sound, quiet, sound, quiet]))
    assert settled[-1] == f"{SAID} {SAID}"
    assert len(live.done) >= 2 and live.done[0].text == SAID
    assert settled[(len(sound) + len(quiet)) // 1600 - 1] == SAID
    words = live.close().words
    starts = [word.start for word in words]
    assert starts == sorted(starts) and words[5].start > len(sound) / RATE


def test_a_stretch_without_a_pause_ends_as_well(tiny) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 40 * RATE).astype(np.float32)
    live = Live(tiny.model, {}, delay=1.0, every=2.0)
    fed(live, sound, RATE)
    assert live.done and len(live._wave) < 32 * RATE


def test_silence_says_nothing(speech) -> None:
    live = Live(speech.model, {})
    assert set(fed(live, np.zeros(20 * RATE, np.float32))) == {""}
    assert live.close().text == ""


def test_utterances_are_read_as_whole_ones_within_their_interval(tmp_path, speech) -> None:
    assert prepare("an4", corpus("an4"), tmp_path) == 0
    samples = [s for s in read_manifest(tmp_path / "valid.jsonl") if s.audio][:15]
    waves = [read_audio(sample.audio) for sample in samples]
    texts = [sample.text for sample in samples]
    heard = []
    for sound in waves:
        live = Live(speech.model, {})
        fed(live, sound)
        heard.append(live.close().text)
    whole = error_rates(zip(texts, (speech.transcribe(sound).text for sound in waves), strict=True))
    assert error_rates(zip(texts, heard, strict=True))["wer"] <= whole["wer_interval"][1]


@pytest.mark.parametrize(
    ("width", "channels", "rate"), [(2, 1, RATE), (3, 2, RATE), (4, 1, 8000), (2, 2, 44100)]
)
def test_wav_streams_are_read_as_files(width, channels, rate) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    data = wav(np.repeat(tone, channels), rate, width, channels)
    found = np.concatenate(list(stream.wav_blocks(io.BytesIO(data), RATE, "a")))
    whole = read_audio(io.BytesIO(data))
    assert len(found) == len(whole)
    np.testing.assert_allclose(found, whole, atol=1e-4)


def test_a_stream_may_say_any_length_and_break_anywhere() -> None:
    data = wav(np.linspace(-1, 1, 4001), count=2**29)
    found = np.concatenate(list(stream.wav_blocks(io.BytesIO(data[:-1]), RATE, "a")))
    assert len(found) == 4000


@pytest.mark.parametrize("data", [b"", b"abc", b"RIFF", b"ID3" + bytes(100), wav(np.zeros(9))[:30]])
def test_what_is_no_stream_is_told(data) -> None:
    with pytest.raises(InputError, match=r"^a: is no WAV stream \(.+\); make one"):
        stream.wav_blocks(io.BytesIO(data), RATE, "a")


def test_streams_of_8_bits_are_told() -> None:
    with pytest.raises(InputError, match="a: has 16000 samples a second of 8 bits; send 16 bits"):
        stream.wav_blocks(io.BytesIO(wav(np.zeros(9), width=1)), RATE, "a")


def test_listen_writes_as_it_hears(monkeypatch, capsys) -> None:
    quiet = np.random.default_rng(0).normal(0, 1e-4, 2 * RATE).astype(np.float32)
    data = wav(np.concatenate([read_audio(DIGITS), quiet, read_audio(DIGITS)]))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert main(["listen", "-", "--model", "speech-en-commands"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == SAID and " ".join(lines) == f"{SAID} {SAID}"


def test_transcribe_live_is_the_same_and_json_has_times() -> None:
    command = [sys.executable, "-m", "carousel.asr.cli", "transcribe", "--live", "-", "--format", "json"]
    done = subprocess.run(
        [*command, "--model", "speech-en-commands"],
        input=wav(read_audio(DIGITS)),
        capture_output=True,
        check=True,
    )
    assert SAID.split()[0].encode() in done.stdout and b'"start"' in done.stdout
    assert done.stdout.count(b"\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["transcribe", "--live", "a.wav", "b.wav"], "--live reads one stream"),
        (["transcribe", "--live", "-", "--format", "srt"], "--live reads one stream"),
        (["transcribe", "--live", "-", "--rescore", "x"], "leave out --rescore"),
        (["transcribe", "--live", "-", "--plot", "x.png", "--times"], "leave out --plot, --times"),
        (["transcribe", "--live", "-", "--nbest", "2", "--format", "json"], "leave out --nbest"),
        (["transcribe", "a.wav", "--delay", "2"], "--delay is for --live"),
        (["listen", "none.wav"], "none.wav: there is no such file"),
    ],
)
def test_what_cannot_be_heard_is_told(words, message, capsys) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_python_hears_at_any_rate(speech) -> None:
    import soxr

    sound = soxr.resample(read_audio(DIGITS), RATE, 8000)
    heard = speech.stream(sample_rate=8000, delay=1.0)
    before = ""
    for start in range(0, len(sound), 4000):
        heard.feed((32767 * sound[start : start + 4000]).astype(np.int16))
        assert heard.settled.startswith(before) and len(heard.text) >= len(heard.settled)
        before = heard.settled
    assert before
    assert heard.close().text.startswith(before)
    with pytest.raises(InputError, match="nothing was fed"):
        heard.close()
