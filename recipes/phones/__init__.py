"""Phones as symbols of a recogniser, and how they are counted.

A phone is written as one symbol that begins with a capital (Hh, Eh, L, Ow), so that a text needs no spaces
and can be taken apart in one way only: n and g are not ng.
"""

import re
from collections.abc import Iterable

# Those of TIMIT's 61 phones that the 39 of Lee & Hon 1989 (Speaker-Independent Phone Recognition Using Hidden
# Markov Models) write otherwise. A glottal stop is left out.
FOLDED = {
    "ao": "aa", "ax": "ah", "axh": "ah", "axr": "er", "hv": "hh", "ix": "ih", "ux": "uw", "el": "l",
    "em": "m", "en": "n", "nx": "n", "eng": "ng", "zh": "sh", "bcl": "sil", "dcl": "sil", "gcl": "sil",
    "kcl": "sil", "pcl": "sil", "tcl": "sil", "h": "sil", "pau": "sil", "epi": "sil", "q": "",
}  # fmt: skip


def written(phones: Iterable[str]) -> str:
    """Phones as a text: ["hh", "eh", "ax-h", "h#"] -> HhEhAxhH. Signs that are not letters are dropped."""
    return "".join(re.sub(r"[^A-Za-z]", "", phone).capitalize() for phone in phones)


def phones_of(text: str, fold: bool = False) -> list[str]:
    """The phones of a text, in small letters; fold: as the 39 of Lee & Hon."""
    phones = [phone.lower() for phone in re.findall(r"[A-Z][a-z]*", text)]
    if fold:
        phones = [folded for phone in phones if (folded := FOLDED.get(phone, phone))]
    return phones
