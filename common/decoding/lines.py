"""Files of words, phrases and sentences, line by line."""

from __future__ import annotations

from pathlib import Path

from common.errors import InputError

File = Path | str


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """(number, line) of a text file in UTF-8. Raises InputError naming the file and what it should be."""
    try:
        return list(enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a {what} ({error}); give a text file in UTF-8") from None
