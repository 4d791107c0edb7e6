"""Small good sound files of every format that can be written: by libsndfile, and by ffmpeg where it is."""

import io
import shutil
import subprocess
import tempfile
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


def by_ffmpeg(name: str, wave: np.ndarray | None = None) -> bytes | None:
    """A file of BY_FFMPEG, or None where ffmpeg is not, or does not know the codec."""

    if not shutil.which("ffmpeg"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        command = ["ffmpeg", "-v", "error", "-i", "-", *BY_FFMPEG[name].split(), str(path)]
        done = subprocess.run(command, input=encoded("a.wav", wave), capture_output=True)
        return path.read_bytes() if done.returncode == 0 else None


def sound_file(name: str, wave: np.ndarray | None = None) -> bytes:
    """A file of PLAIN or BY_FFMPEG; skips the test where that cannot be written."""
    data = encoded(name, wave) if name in PLAIN else by_ffmpeg(name, wave)
    if data is None:
        pytest.skip(f"needs ffmpeg with the codec of {name}")
    return data


def samples() -> dict[str, bytes]:
    """All of them."""
    made = {name: encoded(name) for name in PLAIN} | {name: by_ffmpeg(name) for name in BY_FFMPEG}
    return {name: data for name, data in made.items() if data is not None}
