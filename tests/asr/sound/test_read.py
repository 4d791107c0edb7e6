"""What is written in any format must be read back; every kind of bad file must be one named sentence."""

import io
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carousel.asr.sound.read import duration, read_audio, read_recording
from carousel.common.errors import InputError
from tests.asr.sound_files import RATE, tone

LOSSLESS = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAVEX", "PCM_16"),
    ("wav", "RF64", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("flac", "FLAC", "PCM_16"),
    ("sph", "NIST", "PCM_16"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
]
LOSSY = [("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS"), ("mp3", "MP3", "MPEG_LAYER_III")]


def write(path: Path, wave: np.ndarray, form: str = "WAV", subtype: str = "PCM_16", rate: int = RATE) -> Path:
    soundfile.write(path, wave, rate, format=form, subtype=subtype)
    return path


@pytest.mark.parametrize(("suffix", "form", "subtype"), LOSSLESS)
def test_lossless_formats_are_read_exactly(tmp_path: Path, suffix: str, form: str, subtype: str) -> None:
    wave = tone()
    path = write(tmp_path / f"a.{suffix}", wave, form, subtype)
    read = read_audio(path)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, wave)
    assert duration(path) == 1.0


@pytest.mark.parametrize(("suffix", "form", "subtype"), LOSSY)
def test_lossy_formats_are_read_nearly(tmp_path: Path, suffix: str, form: str, subtype: str) -> None:
    wave = tone()
    read = read_audio(write(tmp_path / f"a.{suffix}", wave, form, subtype))
    # mp3 pads; what matters is that the tone is where it was, as loud as it was.
    delay = int(np.argmax(np.correlate(read[:4000], wave[1000:2000], mode="valid"))) - 1000
    assert abs(delay) < 1200
    shifted = read[max(0, delay) :][: len(wave)]
    assert len(shifted) > 0.95 * len(wave)
    power = np.abs(np.fft.rfft(shifted))
    assert abs(np.argmax(power) * RATE / len(shifted) - 440) < 3
    assert np.std(shifted) == pytest.approx(np.std(wave), rel=0.1)


def test_path_string_bytes_and_file_objects_give_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(), "FLAC")
    wave = read_audio(path)
    data = path.read_bytes()
    with path.open("rb") as file:
        for other in (str(path), file, io.BytesIO(data), data):
            np.testing.assert_array_equal(read_audio(other), wave)
        assert not file.closed  # the caller's own


@pytest.mark.parametrize("cut", [0, 8000])
def test_a_pipe_which_cannot_seek_is_read_and_its_end_noticed(cut: int) -> None:
    out = io.BytesIO()
    soundfile.write(out, tone(), RATE, format="WAV")
    reader, writer = os.pipe()
    os.write(writer, out.getvalue()[: len(out.getvalue()) - cut])  # fits a pipe's buffer
    os.close(writer)
    with open(reader, "rb") as pipe:
        if cut:
            with pytest.raises(InputError, match="the given file: is truncated"):
                read_audio(pipe)
        else:
            np.testing.assert_array_equal(read_audio(pipe), tone())


def test_a_named_pipe_is_read_and_a_device_is_not(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = write(tmp_path / "a.wav", tone()).read_bytes()
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    np.testing.assert_array_equal(read_audio(path), tone())
    writer.join()
    with pytest.raises(InputError, match="/dev/zero: is a device; give a file"):
        read_audio("/dev/zero")


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(hertz=440), tone(hertz=660)
    path = write(tmp_path / "a.wav", np.stack([left, right, 0 * left], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), (left + right) / 3, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampling_keeps_a_tone_and_its_phase(tmp_path: Path, rate: int) -> None:
    seconds = np.arange(2 * rate) / rate
    wave = read_audio(
        write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * seconds), subtype="FLOAT", rate=rate)
    )
    assert abs(len(wave) - 2 * RATE) <= 2
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(wave)) / RATE)
    np.testing.assert_allclose(wave[500:-500], expected[500:-500], atol=2e-4)


def test_resampling_removes_what_would_alias(tmp_path: Path) -> None:
    seconds = np.arange(48000) / 48000
    wave = read_audio(
        write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 11000 * seconds), subtype="FLOAT", rate=48000)
    )
    assert np.abs(wave[500:-500]).max() < 1e-4  # 11 kHz would come back as 5 kHz


def test_long_recordings_are_joined_from_blocks_without_a_seam(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.wav", np.stack([tone(2, 44100)] * 2, axis=1), rate=44100)
    whole = read_audio(path)
    monkeypatch.setattr("carousel.asr.sound.read.BLOCK", 1009)
    np.testing.assert_allclose(read_audio(path), whole, atol=1e-6)


@pytest.mark.parametrize(("unit", "suffix"), [(2**15, "FLOAT"), (2**31, "DOUBLE"), (20, "FLOAT")])
def test_floats_in_another_unit_are_scaled_and_noted(tmp_path: Path, unit: float, suffix: str) -> None:
    recording = read_recording(write(tmp_path / "a.wav", unit * tone().astype(np.float64), subtype=suffix))
    (note,) = recording.notes
    assert "where 1 is full scale" in note
    scale = np.std(tone()) / np.std(recording.samples)
    assert scale == pytest.approx(1, rel=1e-3) if unit > 64 else 0.5 < scale < 1.5
    assert not recording.fault


def test_one_damaged_float_does_not_make_the_rest_silent(tmp_path: Path) -> None:
    wave = tone()
    wave[5000] = 1e30
    recording = read_recording(write(tmp_path / "a.wav", wave, subtype="FLOAT"))
    np.testing.assert_array_equal(recording.samples, np.clip(wave, -1, 1))
    assert recording.notes == ()


@pytest.mark.parametrize(
    ("subtype", "name", "shift"),
    [("PCM_32", "a.wav", 16), ("PCM_32", "a.wav", 8), ("PCM_24", "a.wav", 8), ("PCM_24", "a.flac", 8)],
)
def test_short_integers_in_long_ones_are_scaled_and_noted(tmp_path: Path, subtype, name, shift) -> None:
    integers = (np.round(tone() * 2**15).astype(np.int32) << 16) >> shift
    path = write(tmp_path / name, integers, name[2:].upper(), subtype)
    recording = read_recording(path)
    assert "use the range of" in recording.notes[0]
    np.testing.assert_allclose(recording.samples, tone(), atol=1e-6)
    assert read_recording(write(tmp_path / f"b{name}", tone(), name[2:].upper(), subtype)).notes == ()


def test_noise_at_the_bottom_of_24_bits_stays_as_quiet_as_it_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-2, 3, RATE, dtype=np.int32) << 8
    assert np.abs(read_audio(write(tmp_path / "a.wav", noise, subtype="PCM_24"))).max() < 1e-6


@pytest.mark.parametrize("gain", [-1.0, -0.9])
@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_cancel_are_not_averaged(tmp_path: Path, gain: float, channels: int) -> None:
    wave = tone()
    pairs = np.stack([wave, gain * wave] * (channels // 2), axis=1)
    recording = read_recording(write(tmp_path / "a.wav", pairs, subtype="FLOAT"))
    np.testing.assert_array_equal(recording.samples, wave)
    assert "cancel each other" in recording.notes[0]
    one = write(tmp_path / "b.wav", np.stack([wave, *[0 * wave] * 5], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(one), wave / 6, atol=1e-7)  # one of six channels speaks
    assert read_recording(one).notes == ()


def test_float_files_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    wave = read_audio(write(tmp_path / "a.wav", 3 * tone(), subtype="FLOAT"))
    assert wave.max() == 1.0
    assert wave.min() == -1.0


def test_one_sample_is_audio(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_audio(write(tmp_path / "a.wav", np.array([0.25]))), [0.25])


def test_length_unknown_to_a_pipe_is_no_truncation(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a.wav", tone()).read_bytes())
    for unknown in (0xFFFFFFFF, 0x7FFFF000, 0x80000000):
        struct.pack_into("<I", data, 4, unknown)
        struct.pack_into("<I", data, 40, unknown)
        assert len(read_audio(bytes(data))) == RATE


# Each bad file, and what its sentence must say.
BAD = {
    "missing.wav": "no such file",
    "folder.wav": "folder",
    "empty.wav": "empty",
    "text.wav": "cannot be read as audio",
    "zero.wav": "zero samples",
    "nan.wav": "not finite",
    "inf.wav": "not finite",
    "header.wav": "cannot be read as audio|truncated",
    "picture.flac": "cannot be read as audio",
    "slow.wav": "says 1 samples a second.*export",
    "fast.wav": "says 999999 samples a second.*export",
    "units.wav": "holds samples of 1e\\+12, where 1 is full scale",
    "list.m4a": "is a playlist.*give the recordings",
    "list.wav": "is a playlist.*give the recordings",
    "shortened.sph": "is compressed with shorten.*sph2pipe",
}


@pytest.fixture
def bad_files(tmp_path: Path) -> Path:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no recording\n" * 20)
    write(tmp_path / "zero.wav", np.zeros(0))
    write(tmp_path / "nan.wav", np.array([0.0, np.nan] * 500), subtype="FLOAT")
    write(tmp_path / "inf.wav", np.array([0.0, np.inf] * 500), subtype="FLOAT")
    write(tmp_path / "slow.wav", tone(0.01), rate=1)  # 160 samples, which would be 2.56 million at 16 kHz
    write(tmp_path / "fast.wav", tone(), rate=999_999)
    write(tmp_path / "units.wav", np.full(1000, 1e12), subtype="FLOAT")
    (tmp_path / "list.m4a").write_text(f"#EXTM3U\n{tmp_path / 'good.wav'}\n")
    (tmp_path / "list.wav").write_text(f"ffconcat version 1.0\nfile {tmp_path / 'good.wav'}\n")
    coding = b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    (tmp_path / "shortened.sph").write_bytes(coding.ljust(1024) + b"ajkg" + bytes(range(256)))
    (tmp_path / "header.wav").write_bytes(write(tmp_path / "good.wav", tone()).read_bytes()[:30])
    (tmp_path / "picture.flac").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4)
    return tmp_path


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence_that_names_it(bad_files: Path, name: str) -> None:
    with pytest.raises(InputError, match=BAD[name]) as caught:
        read_audio(bad_files / name)
    message = str(caught.value)
    assert str(bad_files / name) in message
    assert "\n" not in message
    if not name.startswith(("nan", "inf", "slow", "fast", "units")):  # a header does not tell of these
        with pytest.raises(InputError):
            duration(bad_files / name)


@pytest.mark.parametrize("share", [0.95, 0.5, 0.1])
@pytest.mark.parametrize(("suffix", "form", "subtype"), LOSSLESS + LOSSY)
def test_a_truncated_file_is_named_as_such(
    tmp_path: Path, suffix: str, form: str, subtype: str, share: float
) -> None:
    data = write(tmp_path / f"whole.{suffix}", tone(3.0), form, subtype).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"cut\.\w+: is truncated"):
        read_audio(path)


def test_chunks_after_the_samples_do_not_disturb(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    assert len(read_audio(path)) == RATE


@pytest.mark.parametrize(
    ("rate", "channels", "suffix"), [(22050, 1, "wav"), (44100, 2, "flac"), (8000, 1, "ogg")]
)
def test_a_recording_is_read_as_librosa_reads_it(tmp_path, rate, channels, suffix):
    librosa = pytest.importorskip("librosa", reason="needs librosa, of the development extras")
    rng = np.random.default_rng(0)
    time = np.arange(rate) / rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * time)[:, None] + 0.01 * rng.normal(size=(rate, channels))
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, wave, rate)
    expected, _ = librosa.load(path, sr=16000, mono=True, res_type="soxr_hq")
    ours = read_audio(path)
    assert len(ours) == len(expected)
    np.testing.assert_allclose(ours, expected, atol=2e-4)
