"""ffmpeg gets known containers only, and nothing else of it is believed than what it says of them."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from carousel.asr.sound.read import read_audio, read_recording
from carousel.common.errors import InputError
from tests.asr.sound_files import encoded, needed, tone

M4A = b"\0\0\0\x20ftypM4A " + bytes(24)
STAND_IN = """#!{python}
import struct, sys
words = sys.argv[1:]
asked = dict(zip(words, words[1:]))
if (asked["-f"], asked["-format_whitelist"], asked["-protocol_whitelist"]) != ("au", "mov", "file"):
    sys.exit(f"[error] {{asked}}")
sys.stderr.write({log!r})
sys.stderr.flush()
sys.stdout.buffer.write(struct.pack(">4s5I", b".snd", 32, 2**32 - 1, 6, 44100, 2) + bytes(8))
sys.stdout.buffer.write(open({pcm!r}, "rb").read())
"""
LOG = """[info]   Duration: 00:00:0{seconds}.00, start: 0.000000, bitrate: 128 kb/s
[info]   Stream #0:0: Audio: aac, 44100 Hz, stereo, fltp, 128 kb/s
[info] Stream mapping:
[info]   Stream #0:0 -> #0:0 (aac (native) -> pcm_f32be (native))
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """A program ffmpeg that answers as ffmpeg does: a second of a known tone in stereo, 44.1 kHz."""
    wave = tone(1.0, 44100)
    (folder / "pcm").write_bytes(np.stack([wave, wave], axis=1).astype(">f4").tobytes())
    program = folder / "ffmpeg"
    log = LOG.format(seconds=seconds)
    program.write_text(STAND_IN.format(python=sys.executable, log=log, pcm=str(folder / "pcm")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ffmpeg is a script with a shebang")
@pytest.mark.parametrize("seconds", [1, 3])
def test_what_libsndfile_does_not_know_goes_to_ffmpeg(tmp_path, monkeypatch, seconds: int) -> None:
    stand_in(tmp_path, monkeypatch, seconds)
    (tmp_path / "a.m4a").write_bytes(M4A)
    for source in (tmp_path / "a.m4a", M4A):
        recording = read_recording(source)
        assert abs(len(recording.samples) - 16000) <= 2
        np.testing.assert_allclose(np.std(recording.samples), np.std(tone()), rtol=0.1)
        told = (
            ""
            if seconds == 1
            else "is truncated or damaged: its header promises 3.00 s, and 1.00 s are there"
        )
        assert recording.fault == told


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ffmpeg is a script with a shebang")
@pytest.mark.parametrize(
    "data",
    [b"#EXTM3U\na.wav\n", b"ffconcat version 1.0\nfile a.wav\n", b"v=0\no=- 0 0\n", b"some text\n" * 99],
)
def test_what_is_no_container_never_gets_to_ffmpeg(tmp_path, monkeypatch, data: bytes) -> None:
    stand_in(tmp_path, monkeypatch, 1)
    (tmp_path / "a.m4a").write_bytes(data)
    with pytest.raises(InputError, match=r"is a playlist|cannot be read as audio") as caught:
        read_audio(tmp_path / "a.m4a")
    assert "install ffmpeg" not in str(caught.value)


def test_without_ffmpeg_it_is_named_where_it_would_help(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("audioread.available_backends", lambda: [])
    with pytest.raises(InputError, match="install ffmpeg"):
        read_audio(M4A)
    with pytest.raises(InputError, match="cannot be read as audio") as caught:
        read_audio(b"some text\n" * 99)
    assert "ffmpeg" not in str(caught.value)


def test_a_system_decoder_that_raises_anything_is_one_sentence(monkeypatch) -> None:
    def broken(path: str) -> None:
        raise RuntimeError("of a library")

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("audioread.available_backends", lambda: [broken])
    with pytest.raises(InputError, match="cannot be read as audio"):
        read_audio(M4A)


def test_ffmpegs_reason_is_told_where_it_can_make_nothing_of_a_file() -> None:
    needed("a.m4a")
    with pytest.raises(InputError, match=r"cannot be read as audio \(ffmpeg says: .*\); give wav") as caught:
        read_audio(M4A)
    assert "install" not in str(caught.value)


def test_the_mp4_of_a_name_with_a_protocol_is_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("concat:b.m4a").write_bytes(needed("a.m4a"))
    Path("b.m4a").write_bytes(encoded("a.wav"))
    assert len(read_audio("concat:b.m4a")) > 15000
