"""What English texts sound like: capitals, apostrophe and space, figures written out.

Figures can often be read in several ways (2021: twenty twenty-one, two thousand twenty-one); which one was
said, only the sound knows. Number words come from num2words.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator

from carousel.common.errors import InputError

MOST = 16  # readings of a text
LONGEST = 15  # digits that are read as one number
TRIED = 4096  # combinations of the readings of its figures
CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}


def readings(text: str) -> list[str]:
    """The ways in which a text can be said, the likeliest first; none where signs leave it open.

    Raises InputError where there are figures and num2words is not installed.
    """
    pieces: list[list[str]] = []
    end = 0
    for found in FIGURE.finditer(text):
        pieces += [[text[end : found.start()]], list(dict.fromkeys(_read(found)))]
        end = found.end()
    ranked = itertools.islice(itertools.product(*map(enumerate, [*pieces, [text[end:]]])), TRIED)
    likeliest = sorted(ranked, key=lambda parts: sum(rank for rank, _ in parts))[:MOST]
    said = (_letters(" ".join(part for _, part in parts)) for parts in likeliest)
    return list(dict.fromkeys(filter(None, said)))


def _letters(text: str) -> str | None:
    """In A–Z, apostrophe and single spaces; None where there are other signs."""
    text = unicodedata.normalize("NFKD", text.replace("’", "'").replace("‘", "'")).upper()
    text = "".join(letter for letter in text if not unicodedata.combining(letter)).replace("&", " AND ")
    text = re.sub(r"(?<![A-Z])'|'(?![A-Z])", " ", re.sub(r"[-–—_/.,;:!?…()\[\]\"“”*]", " ", text))
    text = " ".join(text.split())
    return None if re.search(r"[^A-Z' ]", text) else text


def _read(found: re.Match[str]) -> Iterator[str]:
    _, reader = FORMS[int((found.lastgroup or "")[1:])]
    return reader(*(part for part in found.groups()[found.lastindex :] if part is not None))


def _money(sign: str, amount: str, scale: str = "") -> Iterator[str]:
    one = amount == "1" and not scale
    for said in [words(float(amount))] if one else _plain(amount, year=False):
        yield f"{said} {scale} {CURRENCIES[sign]}{'' if one else 's'}"


def _percent(amount: str) -> Iterator[str]:
    for said in _plain(amount, year=False):
        yield f"{said} percent"


def _time(hours: str, minutes: str) -> Iterator[str]:
    hour, minute = words(int(hours)), int(minutes)
    if minute == 0:
        yield from (f"{hour} o'clock", hour)
    else:
        yield f"{hour} {'oh ' if minute < 10 else ''}{words(minute)}"


def _decade(number: str) -> Iterator[str]:
    for said in _year(int(number)) if len(number) == 4 else [words(int(number))]:
        yield said[:-1] + "ies" if said.endswith("y") else said + "s"


def _ordinal(number: str) -> Iterator[str]:
    yield from _with_and(_spell(int(number), to="ordinal"))


def _plain(number: str, year: bool = True) -> Iterator[str]:
    whole, point, part = number.replace(",", "").partition(".")
    if point:
        digits = " ".join(words(int(digit)) for digit in part)
        heads = [words(int(whole))] if whole else ["", "zero"]
        yield from (f"{head} point {digits}" for head in heads)
        return
    if year and len(number) == 4 and 1100 <= int(number) < 2100:
        yield from _year(int(number))
    if len(number) > 1 and (number[0] == "0" or ("," not in number and len(number) > 4)):
        yield " ".join(words(int(digit)) for digit in number)
    if len(whole) <= LONGEST:
        yield from _with_and(_spell(int(whole)))


def _year(number: int) -> Iterator[str]:
    century, rest = divmod(number, 100)
    if number // 10 == 200 or (rest == 0 and century % 10 == 0):
        yield words(number)
    if rest == 0:
        yield f"{words(century)} hundred"
    else:
        yield f"{words(century)} {'oh ' if rest < 10 else ''}{words(rest)}"
    if number >= 2000:
        yield from _with_and(_spell(number))


def _with_and(spelled: str) -> Iterator[str]:
    """Without and with the `and` after hundreds, and with `a` for a `one` at its begin."""
    plain = spelled.replace(" and ", " ")
    yield plain
    if plain != spelled:
        yield spelled
    if re.match("one (hundred|thousand)", plain):
        yield "a" + plain[3:]


def words(number: float) -> str:
    """A number in words, without `and`."""
    return _spell(number).replace(" and ", " ")


def _spell(number: float, to: str = "cardinal") -> str:
    try:
        from num2words import num2words
    except ImportError:
        raise InputError(
            "num2words, which writes figures out, is not installed; pip install 'carousel-ctc[recipes]'"
        ) from None
    number = int(number) if number == int(number) else number
    return str(num2words(number, to=to)).replace(",", "").replace("-", " ")


SCALE = r"(?:\s+(hundred|thousand|million|billion|trillion)\b)?"
NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
# what a figure can look like, and how its parts are read; what comes first goes first
FORMS: tuple[tuple[str, Callable[..., Iterator[str]]], ...] = (
    (rf"([$£€])\s?({NUMBER}){SCALE}", _money),
    (rf"({NUMBER})\s?%", _percent),
    (r"\b(\d{1,2}):(\d\d)\b", _time),
    (r"\b(1[1-9]\d0|20\d0|\d0)['’]?s\b", _decade),
    (r"\b(\d{1,4})(?:st|nd|rd|th)\b", _ordinal),
    (rf"({NUMBER})", _plain),
)
FIGURE = re.compile("|".join(f"(?P<f{number}>{pattern})" for number, (pattern, _) in enumerate(FORMS)))
