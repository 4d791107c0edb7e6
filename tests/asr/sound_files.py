"""Small good sound files of every format that can be written: by libsndfile, and by ffmpeg where it is."""

import io
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16000
PLAIN = {  # file name -> (format, subtype) of libsndfile
    "a.wav": ("WAV", "PCM_16"),
    "a24.wav": ("WAV", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "rf64.wav": ("RF64", "PCM_16"),
    "a.w64": ("W64", "PCM_16"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.sph": ("NIST", "PCM_16"),
    "a.aiff": ("AIFF", "PCM_16"),
    "a.au": ("AU", "PCM_16"),
    "a.caf": ("CAF", "PCM_16"),
    "a.ogg": ("OGG", "VORBIS"),
    "a.opus": ("OGG", "OPUS"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
}
BY_FFMPEG = {  # file name -> options of ffmpeg
    "a.m4a": "-c:a aac -movflags +faststart",
    "late.m4a": "-c:a aac",
    "a.aac": "-c:a aac",
    "a.wma": "-c:a wmav2",
    "a.webm": "-c:a libopus",
    "a.mka": "-c:a flac",
    "a.avi": "-c:a pcm_s16le",
    "a.mov": "-c:a pcm_s16be",
    "a.wv": "",
    "a.tta": "",
    "a.ac3": "",
    "a.flv": "-c:a aac",
    "a.ts": "-c:a aac",
    "a.spx": "",
    "a.oga": "-c:a flac",
    "adpcm.w64": "-c:a adpcm_ms",
    "alac.caf": "-c:a alac",
}


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    """A tone with a little noise, which no format squeezes to nothing, in the steps of 16 bits."""
    time = np.arange(int(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * hertz * time) + 0.05 * np.random.default_rng(0).standard_normal(len(time))
    return (np.round(wave * 32768) / 32768).astype(np.float32)


def encoded(name: str, wave: np.ndarray | None = None, rate: int = RATE) -> bytes:
    """A file of PLAIN; wave: (samples,) or (samples, channels), a second of `tone` by default."""
    form, subtype = PLAIN[name]
    out = io.BytesIO()
    soundfile.write(out, tone(rate=rate) if wave is None else wave, rate, format=form, subtype=subtype)
    return out.getvalue()


@cache
def sound_file(name: str, seconds: float = 1.0) -> bytes | None:
    """A file of PLAIN or BY_FFMPEG; None where that cannot be written."""
    if name in PLAIN:
        return encoded(name, tone(seconds))
    if not shutil.which("ffmpeg"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        command = ["ffmpeg", "-v", "error", "-i", "-", *BY_FFMPEG[name].split(), str(path)]
        done = subprocess.run(command, input=encoded("a.wav", tone(seconds)), capture_output=True)
        return path.read_bytes() if done.returncode == 0 else None


def needed(name: str, seconds: float = 1.0) -> bytes:
    """As sound_file; skips the test where the file cannot be written."""
    data = sound_file(name, seconds)
    if data is None:
        pytest.skip(f"needs ffmpeg with the codec of {name}")
    return data


def samples() -> dict[str, bytes]:
    """All of them."""
    made = {name: sound_file(name) for name in (*PLAIN, *BY_FFMPEG)}
    return {name: data for name, data in made.items() if data is not None}
