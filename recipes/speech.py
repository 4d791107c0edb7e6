"""What the recipes for speech share: recordings and their texts."""

from collections.abc import Callable, Iterable
from pathlib import Path

from carousel.asr.sound.read import duration
from carousel.common.errors import InputError
from carousel.recipes.splits import Row, find_file

AUDIO_SUFFIXES = (".wav", ".flac", ".sph", ".opus", ".ogg", ".mp3")  # in the order of preference


def find_audio(stem: Path) -> Path | None:
    """The recording of which `stem` is the path without its ending."""
    return find_file(stem, AUDIO_SUFFIXES)


def rows(
    utterances: Iterable[tuple[Path, str, str]], find: Callable[[Path], Path | None] = find_audio
) -> list[Row]:
    """Rows of a manifest from (path of the recording for `find`, text, speaker).

    Raises InputError for recordings that are missing (half of a corpus must not pass for the whole) or
    without sound, and for a text without a character.
    """
    found: list[Row] = []
    missing: list[Path] = []
    for stem, text, speaker in utterances:
        audio = find(stem)
        if audio is None:
            missing.append(stem)
        elif not text:
            raise InputError(f"{audio}: has an empty text")
        else:
            seconds = round(duration(audio), 4)
            found.append({"audio": audio, "text": text, "speaker": speaker, "duration": seconds})
    if missing:
        raise InputError(
            f"{missing[0]}: there is no such recording ({', '.join(AUDIO_SUFFIXES)}), and {len(missing)} of "
            f"{len(found) + len(missing)} are missing; get the corpus whole"
        )
    return found
