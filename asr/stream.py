"""Sound as it comes: a WAV stream from a pipe, or a microphone. Blocks are mono float32 at one rate."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from carousel.asr.sound.read import LARGEST_RATE, SMALLEST_RATE, resampling
from carousel.common.errors import InputError, UsageError

BLOCK = 0.1  # s


def wav_blocks(file: IO[bytes], rate: int, name: str) -> Iterator[np.ndarray]:
    """Blocks at `rate` of a WAV stream of integers, which may say any length.

    Raises InputError that names it, for what is no such stream and for one that ends within its header.
    """
    try:
        sound = wave.open(file)  # noqa: SIM115, it is read as long as blocks are asked for
    except (wave.Error, EOFError) as error:
        raise InputError(
            f"{name}: is no WAV stream ({str(error) or 'it is empty'}); "
            "make one of it by `ffmpeg -i … -f wav -`"
        ) from None
    if not SMALLEST_RATE <= sound.getframerate() <= LARGEST_RATE or sound.getsampwidth() == 1:
        raise InputError(
            f"{name}: has {sound.getframerate()} samples a second of {8 * sound.getsampwidth()} bits; "
            f"send 16 bits at {SMALLEST_RATE} to {LARGEST_RATE} Hz"
        )
    blocks = _samples(sound)
    return resampling(blocks, sound.getframerate(), rate) if sound.getframerate() != rate else blocks


def _samples(sound: wave.Wave_read) -> Iterator[np.ndarray]:
    width, channels = sound.getsampwidth(), sound.getnchannels()
    frames = max(round(BLOCK * sound.getframerate()), 1)
    while data := sound.readframes(frames):
        data = data[: len(data) // (width * channels) * width * channels]  # a pipe may break within a sample
        whole = np.zeros((len(data) // width, 4), np.uint8)
        whole[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
        samples = whole.view("<i4").reshape(-1, channels) / np.float32(2**31)
        yield samples.mean(axis=1, dtype=np.float32)


def microphone(rate: int) -> Iterator[np.ndarray]:
    """Blocks of the default microphone, without end. Raises UsageError where there is none to be had."""
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise UsageError("a microphone needs the package sounddevice; install carousel-ctc[mic]") from None
    except OSError as error:
        raise UsageError(f"{error}; install it (Debian: apt install libportaudio2)") from None
    try:
        with sounddevice.InputStream(rate, round(BLOCK * rate), channels=1, dtype="float32") as stream:
            yield from _recorded(stream, round(BLOCK * rate))
    except sounddevice.PortAudioError as error:
        raise UsageError(f"the microphone cannot be used ({error}); name a stream: `asr listen -`") from None


def _recorded(stream: Any, frames: int) -> Iterable[np.ndarray]:
    while True:
        block, _ = stream.read(frames)
        yield block[:, 0]
