"""Which tier of an annotated recording holds the texts, and its segments as rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from carousel.common.data.layouts.found import Folder, Found

TEXTS = ("text", "utterance", "sentence", "transcript", "orthograph", "ortho", "phrase", "speech", "default")
OTHERS = ("phone", "phoneme", "segment", "syllable", "gloss", "translation", "note", "comment", "pos", "maus")
WORDS = ("word",)
# labels that say that nobody speaks
SILENCE = {"sil", "sp", "spn", "<eps>", "<sil>", "<p:>", "<p>", "<unk>", "#", "##", "…", "..."}
ALIKE = 3.0  # × the characters of a label: tiers of others may be the texts of other speakers
TOGETHER = 0.5  # of the time of a tier: more, and it says the same as another


class Segment(NamedTuple):
    start: float  # seconds
    end: float
    text: str

    @property
    def spoken(self) -> bool:
        text = self.text.strip()
        return bool(text) and text.lower() not in SILENCE and self.end > self.start


@dataclass(frozen=True)
class Tier:
    name: str
    speaker: str  # empty where the tier does not tell
    segments: tuple[Segment, ...]

    @property
    def spoken(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.spoken]

    @property
    def length(self) -> float:
        """Characters of a label that is spoken."""
        said = self.spoken
        return sum(len(segment.text.strip()) for segment in said) / len(said) if said else 0.0

    def has(self, names: Sequence[str]) -> bool:
        """Whether a word of the tier's name begins with one of these."""
        return any(word.startswith(tuple(names)) for word in re.split(r"[\W_\d]+", self.name.lower()))


def add_tiers(found: Found, folder: Folder, file: Path, audio: Path, tiers: Sequence[Tier]) -> None:
    """A row for each segment of the tiers that hold the texts of a recording."""
    chosen, doubt = choose(tiers, folder.tier)
    if doubt:
        found.leave(folder.place(file), doubt)
        return
    note = f"tiers taken: {', '.join(dict.fromkeys(tier.name for tier in chosen))}"
    if (rest := [tier.name for tier in tiers if tier not in chosen]) and note not in found.notes:
        note += f" (of others, as {', '.join(dict.fromkeys(rest))}, take one with --tier NAME)"
    if note not in found.notes:
        found.notes.append(note)
    for tier in chosen:
        speaker = tier.speaker or (tier.name if len(chosen) > 1 else None)
        for start, end, text in tier.spoken:
            times = {"start": round(start, 6), "end": round(end, 6)}
            found.add(audio, text, speaker=speaker, split=folder.split(file), **times)


def choose(tiers: Sequence[Tier], wanted: str | None = None) -> tuple[list[Tier], str]:
    """The tiers that hold the texts, or why nobody can tell.

    By their names; else that of the longest labels, with those of other speakers: alike, and at other times.
    """
    there = [tier for tier in tiers if tier.spoken]
    if wanted is not None:
        chosen = [tier for tier in there if tier.name == wanted]
        return chosen, "" if chosen else f"no tier {wanted} with texts"
    if not there:
        return [], "no tier with texts"
    for names in (TEXTS, None, WORDS):
        fitting = [tier for tier in there if (tier.has(names) if names else not tier.has([*OTHERS, *WORDS]))]
        if fitting:
            break
    else:
        return [], f"no tier of texts; choose one with --tier ({', '.join(tier.name for tier in there)})"
    longest = max(fitting, key=lambda tier: tier.length)
    chosen = [longest]
    for tier in fitting:
        if tier is longest or longest.length > ALIKE * tier.length:
            continue
        if any(overlap(one, tier) > TOGETHER for one in chosen) and tier.name != longest.name:
            both = f"{longest.name} and {tier.name}"
            return [], f"the tiers {both} may both be the texts; choose with --tier NAME"
        chosen.append(tier)
    return sorted(chosen, key=tiers.index), ""


def overlap(one: Tier, other: Tier) -> float:
    """The share of the shorter tier's time in which both speak."""
    shared = sum(
        max(min(a.end, b.end) - max(a.start, b.start), 0.0) for a in one.spoken for b in other.spoken
    )
    return shared / min(sum(segment.end - segment.start for segment in tier.spoken) for tier in (one, other))
