"""Files of words, phrases and sentences, line by line."""

from __future__ import annotations

from pathlib import Path

from carousel.common.errors import InputError
from carousel.common.text.file import UNREADABLE, open_text

File = Path | str


class Listed(tuple[str, ...]):
    """Texts that stand for a file of them, such as the list that a model keeps; a key of caches."""

    def __str__(self) -> str:
        return "the model's own list"


def read_lines(path: File | Listed, what: str) -> list[tuple[int, str]]:
    """(number, line) of a text file in UTF-8, or of a list.

    Raises InputError naming the file and what it should be.
    """
    if isinstance(path, Listed):
        return list(enumerate(path, start=1))
    path = Path(path)
    try:
        with open_text(path) as file:
            return list(enumerate(file.read().splitlines(), start=1))
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as a {what} ({error}); give a text file in UTF-8") from None
