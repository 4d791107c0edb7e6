"""One recording in, one array out: mono float32 at the rate asked for; a bad file is a named `InputError`.

libsndfile (wav, flac, mp3, ogg, opus, aiff, au, NIST sphere …) reads first; what it does not know goes to
audioread, as librosa does, so that m4a is read where ffmpeg or the system's own decoder is installed.
"""

import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from asr.containers import promised_size
from common.errors import InputError

SAMPLE_RATE = 16000  # Hz, of every model that ships
BLOCK = 1 << 19  # sample frames decoded at a time: hours in stereo must not be in memory twice
SMALLEST_RATE = 1000  # Hz; below this nobody is understood, and resampling would fill the memory
LARGEST_RATE = 768_000  # Hz; above this a header is nonsense
ESTIMATED = ("MP3",)  # formats whose number of frames libsndfile can only estimate


def read_audio(
    source: str | os.PathLike[str] | BinaryIO | bytes, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
    """Read a recording as mono.

    source: a path, an open binary file (standard input as well: it is read to its end) or the bytes of a
    file.
    Returns float32 of shape (samples,) in [-1, 1] at `sample_rate` Hz: channels are averaged, other rates
    resampled (soxr, high quality), and what float files hold beyond full scale is clipped.
    Raises InputError, one sentence naming the file, when it is missing, a folder, empty, truncated, of an
    unknown format, without a single sample, or holds NaN or infinite values.
    """
    name, stream = _open(source)
    with stream:
        _check_size(stream, name)
        wave = _decode(stream, name, sample_rate)
    if not wave.size:
        raise InputError(f"{name}: holds no audio (zero samples); record or export it again")
    if not np.isfinite(wave).all():
        raise InputError(f"{name}: holds samples that are not finite numbers; export it again, as 16-bit PCM")
    return np.clip(wave, -1.0, 1.0, out=wave)


def duration(path: str | os.PathLike[str]) -> float:
    """Length in seconds, from the header where that is possible; errors as of `read_audio`."""
    import soundfile

    try:
        info = soundfile.info(os.fspath(path))
    except (soundfile.LibsndfileError, OSError):
        return len(read_audio(path)) / SAMPLE_RATE
    if not info.frames:
        raise InputError(f"{os.fspath(path)}: holds no audio (zero samples); record or export it again")
    return info.frames / info.samplerate


def _open(source: str | os.PathLike[str] | BinaryIO | bytes) -> tuple[str, BinaryIO]:
    """(name for messages, seekable binary file). The caller's own file is read to its end and left open."""
    if isinstance(source, str | os.PathLike):
        return str(source), _open_path(Path(source))
    if isinstance(source, bytes | bytearray):
        return "the given bytes", io.BytesIO(source)
    name = getattr(source, "name", None)
    if not isinstance(name, str):
        name = "standard input" if name == 0 else "the given file"
    data = source.read()
    if not isinstance(data, bytes):
        raise InputError(f"{name}: was opened as text; open it in binary mode")
    return "standard input" if name == "<stdin>" else name, io.BytesIO(data)


def _open_path(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; correct the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a recording; give a file in it") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be opened ({reason})") from None


def _check_size(stream: BinaryIO, name: str) -> None:
    """Raise InputError for an empty file and for one that is shorter than its header says."""
    size = stream.seek(0, os.SEEK_END)
    if not size:
        raise InputError(f"{name}: is empty (0 bytes); record or copy it again")
    promised = promised_size(stream)
    if promised > size:
        raise InputError(
            f"{name}: is truncated: its header promises {promised} bytes, and {size} are there; copy it again"
        )


def _decode(stream: BinaryIO, name: str, sample_rate: int) -> np.ndarray:
    """(samples,) float32 at `sample_rate`, by libsndfile or, if it does not know the format, by audioread."""
    import soundfile

    try:
        with soundfile.SoundFile(stream) as file:
            return _joined(_blocks(file, name), file.samplerate, sample_rate, name)
    except soundfile.LibsndfileError as error:
        reason = _reason(error)
    stream.seek(0)
    wave = _decode_with_audioread(stream, name, sample_rate)
    if wave is None:
        raise InputError(
            f"{name}: cannot be read as audio ({reason}); give wav, flac, mp3, ogg or opus,"
            " or install ffmpeg for other formats"
        )
    return wave


def _blocks(file: Any, name: str) -> Iterator[np.ndarray]:
    """Mono blocks of an open `SoundFile`; raises InputError when there is less than the header says."""
    import soundfile

    # A file written to a pipe does not know its length: libsndfile puts a huge number then.
    promised = 0 if file.format in ESTIMATED or file.frames >= 1 << 60 else file.frames
    claim = f"its header promises {promised / file.samplerate:.2f} s" if promised else "it ends too early"
    count = 0
    while True:
        try:
            block = file.read(BLOCK, dtype="float32", always_2d=True)  # (samples, channels)
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"{name}: is truncated or damaged: {claim}, and not all of it can be decoded"
                f" ({_reason(error)}); copy it again"
            ) from None
        if not len(block):
            break
        count += len(block)
        yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
    if count < promised:
        there = f"{count / file.samplerate:.2f} s"
        raise InputError(f"{name}: is truncated: {claim}, and {there} are there; copy it again")


def _joined(blocks: Iterator[np.ndarray], rate: int, sample_rate: int, name: str) -> np.ndarray:
    """Blocks of mono float32 at `rate` -> one array at `sample_rate`, resampled as they come."""
    if not SMALLEST_RATE <= rate <= LARGEST_RATE:
        raise InputError(
            f"{name}: its header says {rate} samples a second, which is not from {SMALLEST_RATE}"
            f" to {LARGEST_RATE}; export it again"
        )
    if rate != sample_rate:
        blocks = _resampled(blocks, rate, sample_rate)
    parts = list(blocks)
    if len(parts) == 1:
        return np.array(parts[0], dtype=np.float32)  # a copy: contiguous, and writable
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _resampled(blocks: Iterator[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    import soxr

    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _decode_with_audioread(stream: BinaryIO, name: str, sample_rate: int) -> np.ndarray | None:
    """(samples,) float32 by one of audioread's back ends, or None if none of them can."""
    import audioread

    with tempfile.TemporaryDirectory() as folder:  # the back ends open files by their name
        copy = Path(folder) / ("audio" + Path(name).suffix)
        with copy.open("wb") as out:
            shutil.copyfileobj(stream, out)
        try:
            with audioread.audio_open(str(copy)) as file:
                return _joined(_blocks_of_pcm(file, file.channels), file.samplerate, sample_rate, name)
        except (audioread.DecodeError, OSError, EOFError):
            return None


def _blocks_of_pcm(blocks: Iterable[bytes], channels: int) -> Iterator[np.ndarray]:
    """Mono float32 blocks from little-endian 16-bit PCM with interleaved channels, cut anywhere."""
    rest = b""
    for block in blocks:
        data = rest + block
        whole = len(data) // (2 * channels) * 2 * channels
        data, rest = data[:whole], data[whole:]
        samples = np.frombuffer(data, "<i2").reshape(-1, channels)
        yield samples.mean(axis=1, dtype=np.float32) / np.float32(32768)


def _reason(error: Any) -> str:
    """libsndfile's own words, to be put in parentheses."""
    return str(error.error_string).rstrip(". ").removeprefix("Error : ")
