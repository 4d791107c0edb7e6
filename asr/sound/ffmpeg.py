"""What libsndfile does not know: decoded by the program ffmpeg, or by the system's own decoder without it.

ffmpeg is told which container it gets, and may open no other and no other file.
"""

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from carousel.asr.sound.layout import Spliced
from carousel.common.errors import InputError

BLOCK = 1 << 20  # bytes of ffmpeg's output taken at a time


class Undecodable(InputError):
    """Neither ffmpeg nor the system makes sound of a file; the message is the reason alone."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A file that is being decoded. told: after the blocks, seconds by its container, and if it was cut."""

    rate: int  # Hz
    blocks: Iterator[np.ndarray]  # (samples, channels) float32
    told: Callable[[], tuple[float | None, bool]] = lambda: (None, False)
    bits: int = 0  # of its integers, where they may hold shorter ones


@contextmanager
def opened(stream: Spliced, path: Path | None, container: str, reason: str) -> Iterator[Sound]:
    """A file that libsndfile does not read, for a reason that it gave.

    path: where it is, if that is not in `stream` only; container: by ffmpeg's name, of asr.sound.containers,
    or empty. Raises Undecodable.
    """
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder, f"audio.{container}")
            stream.seek(0)
            with path.open("wb") as out:
                shutil.copyfileobj(stream, out)
        if not shutil.which("ffmpeg"):
            yield from _by_system(path, container, reason)
        elif container:
            yield from _by_ffmpeg(path, container)
        else:
            raise Undecodable(reason)


def _by_ffmpeg(path: Path, container: str) -> Iterator[Sound]:
    command = [
        *("ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info"),
        *("-protocol_whitelist", "file", "-format_whitelist", container, "-f", container),
        *("-i", f"file:{path}", "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"),
    ]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as process,
    ):

        def said() -> str:
            process.wait()
            log.seek(0)
            return log.read().decode("utf-8", "replace")

        try:
            out = cast(IO[bytes], process.stdout)
            head = out.read(24)
            if len(head) < 24:
                raise Undecodable(_reason(said()))
            _, offset, _, _, rate, channels = struct.unpack(">4s5I", head)
            out.read(offset - len(head))
            yield Sound(rate, _frames(out, channels), lambda: _promised(said()))
        finally:
            process.kill()


def _frames(out: IO[bytes], channels: int) -> Iterator[np.ndarray]:
    width = 4 * channels
    while data := out.read(BLOCK // width * width):
        whole = data[: len(data) // width * width]
        yield np.frombuffer(whole, ">f4").astype(np.float32).reshape(-1, channels)


def _promised(log: str) -> tuple[float | None, bool]:
    """Seconds by the container, if it says how long its sound is, and whether ffmpeg missed something."""
    shown, _, decoding = log.partition("Stream mapping:")
    cut = "[error]" in decoding or "orrupt" in decoding
    streams = re.findall(r"^\[info\]   Stream #0:(?!.*attached pic)", shown, re.MULTILINE)
    found = re.search(r"^\[info\]   Duration: (\d+):(\d+):([\d.]+)", shown, re.MULTILINE)
    if not found or len(streams) > 1 or "Estimating duration" in shown:
        return None, cut
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]), cut


def _reason(log: str) -> str:
    """What ffmpeg complains of first, without the names and addresses before it."""
    if "matches no streams" in log:
        return "there is no sound in it"
    complaint = re.search(r"\[(?:error|fatal)\] (?:file:\S*: )?(.*)", log)
    return f"ffmpeg says: {complaint[1].strip().rstrip('.') if complaint else 'it holds no sound'}"


def _by_system(path: Path, container: str, reason: str) -> Iterator[Sound]:
    """By a back end of audioread's that is neither ffmpeg nor Python's own modules, 16 bits a sample."""
    import audioread
    from audioread import ffdec, rawread

    others = (ffdec.FFmpegAudioFile, rawread.RawAudioFile)
    backends = [backend for backend in audioread.available_backends() if backend not in others]
    try:
        with audioread.audio_open(str(path), backends) as file:
            samples = np.frombuffer(b"".join(file), "<i2").reshape(-1, file.channels)
    except Exception:  # of any library that the system has
        raise Undecodable(f"{reason}; install ffmpeg for it" if container else reason) from None
    yield Sound(file.samplerate, iter([samples.astype(np.float32) / np.float32(32768)]))
