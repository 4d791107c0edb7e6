"""One recording in, one array out: mono float32 at the rate asked for; a bad file is a named `InputError`.

libsndfile (wav, flac, mp3, ogg, opus, aiff, au, NIST sphere …) reads what it knows, ffmpeg the rest. Neither
says that a file ends too early; asr.sound.containers finds out.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from carousel.asr.sound.containers import LOOSE, PLAYLIST, layout
from carousel.asr.sound.ffmpeg import Sound, Undecodable, opened
from carousel.asr.sound.frames import flac_rest
from carousel.asr.sound.layout import SLACK, Layout, Spliced, at
from carousel.common.errors import InputError
from carousel.common.files import Source, open_source, source_name

SAMPLE_RATE = 16000  # Hz, of every model that ships
BLOCK = 1 << 19  # samples decoded at a time: hours in stereo must not be in memory twice
SMALLEST_RATE = 1000  # Hz; below this nobody is understood, and resampling would fill the memory
LARGEST_RATE = 768_000  # Hz; above this a header is nonsense
MOST_CHANNELS = 16  # that are read apart
CANCELLED = 0.1  # of the power that the mean of unlike channels has: less, and they cancel each other
OVER = 4.0  # × full scale: floats that are mostly below are loud, those above count in another unit
LOUDEST = 64.0  # × full scale: floats above are integers of 16, 24 or 32 bits
BITS = {"PCM_24": 24, "PCM_32": 32}  # subtypes of libsndfile that may hold shorter integers
SOUND = 0.01  # of full scale: less is taken for noise


@dataclass(frozen=True, slots=True)
class Recording:
    """What was there of a recording, and what the user should know of it.

    samples: (samples,) float32 in [-1, 1] at the rate asked for; fault: that the file is truncated, or empty;
    notes: of what was done to read it; channels: how many there are.
    """

    samples: np.ndarray
    fault: str = ""
    notes: tuple[str, ...] = ()
    channels: int = 1


def read_audio(source: Source, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """As `read_recording`, the samples alone; a truncated file is an InputError as well."""
    recording = read_recording(source, sample_rate)
    if recording.fault:
        raise InputError(f"{source_name(source)}: {recording.fault}; copy it again")
    return recording.samples


def read_recording(source: Source, sample_rate: int = SAMPLE_RATE, longest: float = math.inf) -> Recording:
    """Read a recording as mono.

    source: a path, of a pipe as well, an open binary file (standard input as well: it is read to its end) or
    the bytes of a file. Channels are averaged, or the loudest is taken where they cancel each other; other
    rates resampled (soxr, high quality); what float files hold beyond full scale is clipped. What of a
    truncated or damaged file is there is read, and `fault` tells so. Of files joined to one, all are read.
    Raises InputError, one sentence naming the file, when it is missing, a folder, empty, of an unknown
    format, without a single sample, longer than `longest` seconds, or holds NaN or infinite values.
    """
    name = source_name(source)
    with open_source(source) as stream:
        plan = layout(stream)
        _refuse(stream, plan, name)
        path = Path(name) if isinstance(stream, io.BufferedReader) else None
        return _decode(stream, plan, path, name, sample_rate, longest)


def read_channels(source: Source, sample_rate: int = SAMPLE_RATE) -> Iterator[Recording]:
    """As `read_recording`, each channel apart, one after the other."""
    name = source_name(source)
    with open_source(source) as stream:
        plan = layout(stream)
        _refuse(stream, plan, name)
        path = Path(name) if isinstance(stream, io.BufferedReader) else None
        number, count = 0, 1
        while number < count:
            found = _decode(stream, plan, path, name, sample_rate, channel=number)
            count = found.channels
            if count > MOST_CHANNELS:
                raise InputError(
                    f"{name}: has {count} channels, and at most {MOST_CHANNELS} are read apart; "
                    "leave out --channels"
                )
            yield found
            number += 1


def duration(path: str | os.PathLike[str]) -> float:
    """Length in seconds, from the header where that is possible; errors as of `read_audio`."""
    seconds = told(os.fspath(path))[1]
    return len(read_audio(path)) / SAMPLE_RATE if seconds is None else seconds


def told(path: str) -> tuple[Layout | None, float | None, str]:
    """What a file is, its length in seconds by libsndfile and its own headers alike, and its coding."""
    import soundfile

    with suppress(OSError, RuntimeError, ValueError):  # libsndfile's among them
        info = soundfile.info(path)
        with open(path, "rb") as stream:
            plan = layout(stream)
        seconds = info.frames / info.samplerate
        sure = seconds and not plan.cut and plan.promised is not None
        if sure and abs(seconds - (plan.promised or 0.0)) <= plan.slack:
            return plan, seconds, info.subtype
    return None, None, ""


def _refuse(stream: BinaryIO, plan: Layout, name: str) -> None:
    """Raise InputError for what no decoder should see, or none here understands."""
    head = at(stream, 0, 1024)
    if not plan.container and PLAYLIST.match(head.lstrip(b"\xef\xbb\xbf")):
        raise InputError(f"{name}: is a playlist, not a recording; give the recordings that it names")
    if plan.container == "nistsphere" and (coding := re.search(rb"embedded-(\w+)", head)):
        raise InputError(
            f"{name}: is compressed with {coding[1].decode()}, which is not read here;"
            " expand it with sph2pipe (sph2pipe -f wav IN OUT)"
        )


def _decode(
    stream: BinaryIO,
    plan: Layout,
    path: Path | None,
    name: str,
    rate: int,
    longest: float = math.inf,
    channel: int | None = None,
) -> Recording:
    """All parts, one after the other; those that cannot be decoded are missing.

    channel: the one to read, from 0 on; None: their mean.
    """
    found: list[Decoded] = []
    failure: Undecodable | None = None
    parts = list(plan.parts)
    path = path if len(parts) == 1 else None
    while parts:
        part = parts.pop(0)
        try:
            found.append(_part(Spliced(stream, part), path, plan, name, rate, longest, channel))
        except Undecodable as error:
            failure = failure or error
            continue
        if plan.container == "flac" and (rest := flac_rest(stream, part, len(found[-1].wave) / rate)):
            parts.insert(0, rest)
    if not found and plan.cut:
        raise InputError(f"{name}: is truncated, and none of it can be decoded ({failure}); copy it again")
    if not found:
        raise InputError(f"{name}: cannot be read as audio ({failure}); give wav, flac, mp3, ogg or opus")
    wave = np.concatenate([one.wave for one in found]) if len(found) > 1 else found[0].wave
    fault = _fault(plan, found, failure, len(wave) / rate)
    if not wave.size and fault:
        raise InputError(f"{name}: is truncated, and none of its sound is there; copy it again")
    if not wave.size:
        raise InputError(f"{name}: holds no audio (zero samples); record or export it again")
    wave, note = _levelled(wave, max(one.bits for one in found), name)
    notes = dict.fromkeys(filter(None, [plan.note, *(one.note for one in found), note]))  # each once
    channels = max(one.channels for one in found)
    return Recording(np.clip(wave, -1.0, 1.0, out=wave), fault, tuple(notes), channels)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A part as mono at the rate asked for. bits: of its integers; promised, cut: of ffmpeg.Sound."""

    wave: np.ndarray
    note: str
    bits: int
    promised: float | None
    cut: bool
    channels: int


def _fault(plan: Layout, found: list[Decoded], failure: Exception | None, there: float) -> str:
    """That sound is missing, in words, or nothing. there: seconds."""
    promised, slack = plan.promised, plan.slack
    if plan.headed and all(one.promised for one in found):
        promised, slack = sum(one.promised or 0.0 for one in found), LOOSE
    cut = plan.cut or failure is not None or any(one.cut for one in found)
    missing = None if promised is None else promised - there
    if not (cut if missing is None else missing > (SLACK if cut else slack)):
        return ""
    what = "is truncated" if plan.cut else "is truncated or damaged"
    told = "it does not tell how long it was" if promised is None else f"its header promises {promised:.2f} s"
    return f"{what}: {told}, and {there:.2f} s are there"


def _part(
    stream: Spliced,
    path: Path | None,
    plan: Layout,
    name: str,
    rate: int,
    longest: float,
    channel: int | None,
) -> Decoded:
    """Raises Undecodable, and InputError for a rate that is none and for what is longer than `longest`."""
    channels = 1
    powers, mixed_power, note = np.zeros(1), 0.0, ""  # sums of squares of the channels, and of their mean

    def mixed() -> Iterator[np.ndarray]:
        nonlocal powers, mixed_power, channels
        samples = 0
        for block in sound.blocks:
            samples += len(block)
            if samples > longest * sound.rate:
                raise InputError(f"{name}: is longer than {longest / 60:g} minutes; cut it up")
            channels = max(channels, block.shape[1])
            if block.shape[1] == 1 or channel is not None:
                yield block[:, min(channel or 0, block.shape[1] - 1)]
                continue
            mean = block.mean(axis=1)
            mixed_power += float(np.dot(mean, mean))
            powers = powers + np.einsum("ij,ij->j", block, block, dtype=np.float64)
            yield mean

    with _sound(stream, path, plan.container) as sound:
        wave = resampled(mixed(), sound.rate, rate, name)
        promised, cut = sound.told()
    if len(powers) > 1 and mixed_power < CANCELLED * powers.sum() / len(powers) ** 2:
        loudest = int(powers.argmax())
        note = f"its channels cancel each other (one is inverted), so channel {loudest + 1} alone is read"
        with _sound(stream, path, plan.container) as sound:
            wave = resampled((block[:, loudest] for block in sound.blocks), sound.rate, rate, name)
    return Decoded(wave, note, sound.bits, promised, cut, channels)


@contextmanager
def _sound(stream: Spliced, path: Path | None, container: str) -> Iterator[Sound]:
    import soundfile

    stream.seek(0)
    file, reason = None, ""
    try:
        file = soundfile.SoundFile(stream)
        file.seekable = lambda: False  # of damaged files libsndfile does not know where it is
    except soundfile.LibsndfileError as error:
        reason = str(error.error_string).rstrip(". ").removeprefix("Error : ")
    except Exception as error:  # soundfile lets out others where a header is damaged
        reason = str(error) or type(error).__name__
    if file is None:
        with opened(stream, path, container, reason) as sound:
            yield sound
        return
    with file:
        yield Sound(file.samplerate, _blocks(file), bits=BITS.get(file.subtype, 0))


def _blocks(file: Any) -> Iterator[np.ndarray]:
    """(samples, channels) float32; where decoding fails, libsndfile goes on behind the damage if it can."""
    import soundfile

    failures = 0
    while failures < 100:
        out = np.full((max(BLOCK // file.channels, 1), file.channels), np.nan, np.float32)
        try:
            block = file.read(out=out)
        except soundfile.LibsndfileError:  # what came before it is in `out`
            failures += 1
            block = out[: int(np.isnan(out).all(axis=1).argmax())]
            if len(block):
                yield block
            continue
        if not len(block):
            break
        yield block


def resampled(blocks: Iterable[np.ndarray], rate: int, sample_rate: int, name: str) -> np.ndarray:
    """Blocks of mono float32 at `rate` -> one array at `sample_rate`, resampled as they come."""
    if not SMALLEST_RATE <= rate <= LARGEST_RATE:
        raise InputError(
            f"{name}: its header says {rate} samples a second, which is not from {SMALLEST_RATE}"
            f" to {LARGEST_RATE}; export it again"
        )
    if rate != sample_rate:
        blocks = resampling(blocks, rate, sample_rate)
    grown = bytearray()  # which grows in place: an hour must not be in memory twice
    for block in blocks:
        grown += np.ascontiguousarray(block, dtype=np.float32).data.cast("B") if len(block) else b""
    return np.frombuffer(grown, np.float32)  # writable


def resampling(blocks: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks of mono float32 at `rate` -> blocks at `sample_rate`."""
    import soxr

    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _levelled(wave: np.ndarray, bits: int, name: str) -> tuple[np.ndarray, str]:
    """A wave whose full scale is 1, and a note if it was another. bits: of the file's integers, or 0.

    Programs write integers as floats without scaling them, and 16 bits into 24 or 32 without moving them up.
    """
    peak = max(float(wave.max()), -float(wave.min()))  # NaN if there is one
    if not np.isfinite(peak):
        raise InputError(f"{name}: holds samples that are not finite numbers; export it again, as 16-bit PCM")
    level = float(np.quantile(np.abs(wave), 0.999)) if peak > OVER else peak  # no single one that is damaged
    if level > OVER:
        units = [level] if level <= LOUDEST else [2.0**held for held in (15, 23, 31) if level <= 2.0**held]
        if not units:
            raise InputError(f"{name}: holds samples of {level:.3g}, where 1 is full scale; export it again")
        note = f"its samples reach {level:.3g}, where 1 is full scale, so they are divided by {units[0]:.6g}"
        return wave / np.float32(units[0]), note
    for held in (16, 24):
        full = 2.0 ** (held - bits)
        if bits > held and SOUND * full < peak <= 1.05 * full:
            note = f"its samples of {bits} bits use the range of {held} bits alone, so they are read as such"
            return wave / np.float32(full), note
    return wave, ""
