"""Files that are cut, joined, streamed or wrong about their size: all is read, and what is missing told."""

import io
import struct

import numpy as np
import pytest

from carousel.asr.sound.containers import layout
from carousel.asr.sound.read import duration, read_audio, read_recording
from carousel.common.errors import InputError
from tests.asr.sound_files import BY_FFMPEG, PLAIN, RATE, encoded, needed, tone

EVERY = [*PLAIN, *BY_FFMPEG]
INDEX_LAST = ("late.m4a", "a.mov", "alac.caf")  # nothing of them can be decoded once their ends are missing
UNTOLD = ("a.ogg", "a.opus", "a.spx", "a.oga", "a.aac", "a.avi", "a.ts")  # how long they are
UNFRAMED = ("a.ac3", "a.wv")  # a cut between frames is not noticed; nothing comes of a block that is cut
SECONDS = 8.0
CODEC = 0.2  # s: what encoders add at the ends


@pytest.mark.parametrize("name", EVERY)
def test_a_whole_file_has_no_fault(name: str) -> None:
    recording = read_recording(needed(name, SECONDS))
    assert (recording.fault, recording.notes) == ("", ())
    assert abs(len(recording.samples) / RATE - SECONDS) < CODEC


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", [name for name in EVERY if name not in UNFRAMED])
def test_of_a_cut_file_what_is_there_is_read_and_the_loss_told(name: str, share: float) -> None:
    data = needed(name, SECONDS)
    data = data[: int(share * len(data)) | 1]  # odd: not between two frames by chance
    if name in INDEX_LAST:
        with pytest.raises(InputError, match="is truncated, and none of it can be decoded"):
            read_recording(data)
        return
    whole, recording = read_audio(needed(name, SECONDS)), read_recording(data)
    there = len(recording.samples)
    assert (share - 0.25) * SECONDS < there / RATE < (share + 0.1) * SECONDS + CODEC
    assert "is truncated" in recording.fault and f"{there / RATE:.2f} s are there" in recording.fault
    assert ("does not tell how long" if name in UNTOLD else "promises 8.0") in recording.fault
    if there > 8000:
        np.testing.assert_allclose(recording.samples[1000:5000], whole[1000:5000], atol=1e-3)
    with pytest.raises(InputError, match=r"the given bytes: is truncated.*; copy it again"):
        read_audio(data)


@pytest.mark.parametrize("name", EVERY)
def test_of_joined_files_both_are_read(name: str) -> None:
    first, second = (needed(name, seconds) for seconds in (1.0, 2.0))
    waves = [read_audio(data) for data in (first, second)]
    recording = read_recording(first + second)
    assert recording.fault == ""
    assert (
        abs(len(recording.samples) - sum(map(len, waves))) < 0.15 * RATE
    )  # mp3, aac: no new start for ffmpeg
    if name in PLAIN:
        np.testing.assert_array_equal(recording.samples, np.concatenate(waves))


def test_joined_mp3_files_may_differ_in_rate_and_have_tags(tmp_path) -> None:
    tag = b"ID3\4\0\0\0\0\2\0" + bytes(256)
    parts = [encoded("a.mp3", tone(2.0, rate), rate) for rate in (16000, 44100, 16000)]
    (tmp_path / "a.mp3").write_bytes(tag + b"TAG".ljust(128).join(tag + part for part in parts))
    assert abs(duration(tmp_path / "a.mp3") - 6.0) < CODEC
    assert read_recording(tmp_path / "a.mp3").fault == ""


def test_mp3_frames_without_a_tag_behind_those_that_a_tag_counts_are_read() -> None:
    with_tag, other = encoded("a.mp3", tone(2.0)), encoded("a.mp3", tone(3.0))
    bare = other[other.index(other[:2], 4) :]  # without its first frame, the tag
    assert abs(len(read_audio(with_tag + bare)) / RATE - 5.0) < CODEC


def test_mp3_of_varying_bitrate_without_a_tag_is_read_to_its_end() -> None:
    for wave in (tone(5.0), 1e-3 * tone(20.0)):
        data = encoded("a.mp3", wave)
        bare = data[data.index(data[:2], 4) :]
        assert abs(len(read_audio(bare)) - len(read_audio(data))) < CODEC * RATE


# --- streamed: sizes that nobody knew ---

HEADERS = {  # where the sizes stand in what libsndfile writes: (name of the chunk, offset, struct)
    "a.wav": ((b"RIFF", 4, "<I"), (b"data", 4, "<I")),
    "a24.wav": ((b"RIFF", 4, "<I"), (b"data", 4, "<I")),
    "float.wav": ((b"RIFF", 4, "<I"), (b"data", 4, "<I")),
    "rf64.wav": ((b"ds64", 8, "<Q"), (b"ds64", 16, "<Q"), (b"ds64", 24, "<Q")),
    "a.w64": ((b"riff", 16, "<Q"), (b"data", 16, "<Q")),
    "a.aiff": ((b"FORM", 4, ">I"), (b"COMM", 10, ">I"), (b"SSND", 4, ">I")),
    "a.au": ((b".snd", 8, ">I"),),
    "a.caf": ((b"data", 4, ">Q"),),
}
UNKNOWN = {
    "<I": (0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFEFFF, 0x80000000, 0x7F000000),
    ">I": (0, 0xFFFFFFFF, 0x7F000008, 0x7FFFFFFF),
    "<Q": (0, 2**64 - 1, 2**63 - 1),
    ">Q": (2**64 - 1,),
}


def with_sizes(name: str, data: bytes, value: int) -> bytes:
    out = bytearray(data)
    for chunk, offset, form in HEADERS[name]:
        struct.pack_into(form, out, data.index(chunk) + offset, value)
    return bytes(out)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in HEADERS for value in UNKNOWN[HEADERS[name][-1][2]]]
)
def test_a_length_that_the_writer_did_not_know_is_no_fault(name: str, value: int) -> None:
    recording = read_recording(with_sizes(name, encoded(name), value))
    np.testing.assert_array_equal(recording.samples, tone())
    assert (recording.fault, recording.notes) == ("", ())


def test_a_flac_stream_without_a_length_is_read_and_a_cut_in_it_told(tmp_path) -> None:
    data = bytearray(encoded("a.flac", tone(3.0)))
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    (tmp_path / "a.flac").write_bytes(data)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.flac"), tone(3.0))
    assert duration(tmp_path / "a.flac") == 3.0
    assert "is truncated" in read_recording(bytes(data[:-3000])).fault


@pytest.mark.parametrize("off", [-40, -1, 1, 44, 3000])
@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.au"])
def test_a_size_that_is_slightly_off_is_no_fault(name: str, off: int) -> None:
    chunk, offset, form = HEADERS[name][-1]
    data = bytearray(encoded(name))
    place = data.index(chunk) + offset
    struct.pack_into(form, data, place, struct.unpack_from(form, data, place)[0] + off)
    recording = read_recording(bytes(data))
    assert recording.fault == ""
    assert 0 <= RATE - len(recording.samples) <= 20
    np.testing.assert_array_equal(recording.samples, tone()[: len(recording.samples)])


def test_sound_behind_what_the_header_counts_is_read_with_a_note() -> None:
    data = bytearray(encoded("a.wav", tone(2.0)))
    struct.pack_into("<I", data, 40, RATE)  # bytes: half a second
    recording = read_recording(bytes(data))
    np.testing.assert_array_equal(recording.samples, tone(2.0))
    assert recording.notes == ("its header promises 0.50 s, and 2.00 s are there; all are read",)


@pytest.mark.parametrize("length", [0xA4CB8000, 3_000_000_000])
def test_a_size_between_2_and_4_gib_is_meant(length: int) -> None:
    data = bytearray(encoded("a.wav"))
    struct.pack_into("<I", data, 40, length)
    assert f"promises {length / 2 / RATE:.2f} s, and 1.00 s are there" in read_recording(bytes(data)).fault


@pytest.mark.parametrize("padded", [True, False])
def test_chunks_of_odd_size_may_lack_their_padding(padded: bool) -> None:
    data = encoded("a.wav")
    chunk = b"LIST" + struct.pack("<I", 7) + b"INFOabc" + b"\0" * padded
    for changed in (data[:36] + chunk + data[36:], data + chunk, data[:-1] + chunk):
        recording = read_recording(changed)
        assert (recording.fault, recording.notes) == ("", ())
        np.testing.assert_array_equal(recording.samples[: RATE - 1], tone()[: RATE - 1])
        assert len(recording.samples) in (RATE - 1, RATE)


def test_a_wav_without_sound_is_empty_whatever_follows() -> None:
    data = encoded("a.wav", np.zeros(0, np.float32)) + b"LIST" + struct.pack("<I", 5000) + bytes(5000)
    with pytest.raises(InputError, match="zero samples"):
        read_recording(data)


def test_mp3_in_a_wav_is_read(tmp_path) -> None:
    mp3 = encoded("a.mp3", tone(3.0))
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 144, 1, 1105)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(mp3)) + mp3
    recording = read_recording(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert recording.fault == "" and abs(len(recording.samples) / RATE - 3.0) < CODEC


# --- damage ---


@pytest.mark.parametrize("length", [1, 100])
@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.ogg", "a.opus", "a.oga"])
def test_behind_damage_reading_goes_on_and_what_is_missing_is_told(name: str, length: int) -> None:
    data = bytearray(needed(name, 20.0))
    place = len(data) // 3
    data[place : place + length] = np.random.default_rng(1).bytes(length)
    recording = read_recording(bytes(data))
    missing = 20.0 - len(recording.samples) / RATE
    assert -CODEC < missing < 3.0
    if missing > 2 * CODEC:
        assert "promises 20.0" in recording.fault


def test_flac_with_damaged_metadata_is_read() -> None:
    data = bytearray(encoded("a.flac"))
    data[42 + 1 : 42 + 4] = b"\xff\xff\xff"  # the length of the second block
    np.testing.assert_array_equal(read_audio(bytes(data)), tone())


def test_amr_frames_count_themselves() -> None:
    frames = b"#!AMR\n" + (b"\x3c" + bytes(31)) * 50
    assert not layout(io.BytesIO(frames)).cut and layout(io.BytesIO(frames[:-5])).cut
    assert [part.start for part in layout(io.BytesIO(frames * 2)).parts] == [0, len(frames)]
