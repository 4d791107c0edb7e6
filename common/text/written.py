"""Texts in the case, the Unicode form and the characters that settings (common.settings.text) ask for."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from carousel.common.errors import InputError
from carousel.common.settings.field import check, defaults
from carousel.common.settings.text import Text
from carousel.common.text.alphabet import normalise

# kinds of characters, by the first letters of their Unicode category
KINDS = {"letters": ("L", "M"), "digits": ("N",), "punctuation": ("P",), "symbols": ("S",)}
PARTING = "/\\_"  # part words, as dashes do, so that a space takes their place
CASES: dict[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower, "keep": str}


def written(text: str, settings: Mapping[str, Any]) -> str | None:
    """A text as `settings` have it, in NFC; None where they leave it out. Without settings, as it was."""
    if not settings or settings == defaults(Text):
        return normalise(text)
    form = settings["form"]
    text = unicodedata.normalize(form, CASES[settings["case"]](unicodedata.normalize(form, text)))
    keep, drop = settings["keep"], settings["drop"]
    used = {c for c in text if not c.isspace()}
    dropped = {c for c in used if drop is not None and _is_of(c, drop)}
    others = {c for c in used - dropped if keep is not None and not _is_of(c, keep)}
    if others and settings["others"] == "leave":
        return None
    gone = dropped | others
    kept = "".join(_gap(c) if c in gone else c for c in text)
    return normalise(" ".join(kept.split()))  # as what was parted may combine


def reference(text: str, settings: Mapping[str, Any]) -> str:
    """A text to measure by: as `written`; what training would leave out stays whole, and counts."""
    found = written(text, settings)
    if found is None:
        found = written(text, {**settings, "keep": None})
    return text if found is None else found


def settings_in(card: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a model's card tells; empty where it tells none. Raises InputError for wrong ones."""
    settings = card.get("text") or {}
    if settings:
        try:
            check(Text, settings, "text")
        except InputError as error:
            raise InputError(f"the model's card is damaged ({error}); get the model anew") from None
    return dict(settings)


def told(settings: Mapping[str, Any]) -> str:
    """What the settings change, in words; nothing where they change nothing."""
    usual = defaults(Text)
    return ", ".join(f"text.{key}={value}" for key, value in settings.items() if value != usual.get(key))


def _gap(character: str) -> str:
    return " " if unicodedata.category(character) == "Pd" or character in PARTING else ""


@lru_cache(maxsize=1 << 16)
def _is_of(character: str, characters: str) -> bool:
    """Whether a character is among some, which are kinds, ranges such as A-Z, and themselves."""
    for part in characters.split():
        if part in KINDS:
            if unicodedata.category(character).startswith(KINDS[part]):
                return True
        elif len(part) == 3 and part[1] == "-":
            if part[0] <= character <= part[2]:
                return True
        elif character in part:
            return True
    return False
