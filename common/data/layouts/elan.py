"""ELAN's .eaf files as segments of recordings (EAF 2 and 3, Max Planck Institute for Psycholinguistics)."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from carousel.common.data.layouts.found import Folder, Found
from carousel.common.data.layouts.tiers import Segment, Tier, add_tiers
from carousel.common.errors import InputError
from carousel.common.markup import Element, all_below, below, read_xml

ENDING = ".eaf"


def claims(folder: Folder) -> bool:
    return bool(folder.ending(ENDING) and folder.media)


def read(folder: Folder, found: Found) -> None:
    for file in folder.ending(ENDING):
        try:
            root = read_xml(file)
        except InputError as error:
            found.leave(error, "cannot be read as an ELAN file")
            continue
        audio = folder.by_stem.get(file.with_suffix("")) or _named(root, file, folder)
        if audio is None:
            found.leave(folder.place(file), "no recording beside it")
            continue
        add_tiers(found, folder, file, audio, tiers(root))


def _named(root: Element, file: Path, folder: Folder) -> Path | None:
    """The recording that the file names, where it lies in the folder."""
    for media in all_below(root, "MEDIA_DESCRIPTOR"):
        for key in ("RELATIVE_MEDIA_URL", "MEDIA_URL"):
            name = re.split(r"[/\\]", unquote(media.get(key, "")))[-1]
            if name and (audio := folder.find(name, file.parent)) is not None:
                return audio
    return None


def tiers(root: Element) -> list[Tier]:
    """The tiers that are parts of no other (words, glosses and translations are), with times in seconds."""
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in all_below(root, "TIME_SLOT")}
    found = []
    for tier in below(root, "TIER"):
        if tier.get("PARENT_REF"):
            continue
        segments = []
        for annotation in all_below(tier, "ALIGNABLE_ANNOTATION"):
            times = [slots.get(annotation.get(f"TIME_SLOT_REF{end}")) for end in (1, 2)]
            text = "".join("".join(value.itertext()) for value in below(annotation, "ANNOTATION_VALUE"))
            if all(time and time.isdigit() for time in times):
                start, end = (int(time or 0) / 1000 for time in times)
                segments.append(Segment(start, end, text))
        found.append(Tier(tier.get("TIER_ID", ""), tier.get("PARTICIPANT", ""), tuple(segments)))
    return found
