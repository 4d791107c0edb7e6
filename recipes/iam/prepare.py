"""IAM handwriting database: scanned English lines.

CORPUS is the folder as published: the pictures as lines/a01/a01-000u/a01-000u-00.png, the texts as
xml/a01-000u.xml or ascii/lines.txt (or lines.txt), who wrote them in the XML or ascii/forms.txt. Where the
split lists of the Large Writer Independent Text Line Recognition Task are at hand (trainset.txt,
validationset1.txt, validationset2.txt, testset.txt, at any depth; train.txt, valid.txt, test.txt and the
endings .uttlist and .lst do as well), they are the split: one line or form a row, both validation sets as
valid; lines in none of them are left out and counted. Without lists, writers are split by a hash of their
numbers, about a tenth of the lines each for valid and test: not the split of the literature.

The XML has the texts as they were written. lines.txt puts a | between words and around punctuation, which is
set back where that is certain: before .,:;!?) and after (; quotation marks keep their spaces.
"""

import html
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from carousel.common.errors import InputError
from carousel.common.text.lines import read_lines
from carousel.recipes import images
from carousel.recipes.splits import Row, text_lines

LISTS = {
    "train": ("trainset", "train", "tr"),
    "valid": ("validationset1", "validationset2", "valid", "validation", "val", "va"),
    "test": ("testset", "test", "te"),
}
ENDINGS = (".txt", ".uttlist", ".lst")
LINE = re.compile(r"[a-z]\d\d-\d{3}[a-z]?-\d\d")  # form and number of the line


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError for a corpus that is not whole."""
    corpus = arguments.corpus
    if not corpus.is_dir():
        raise InputError(f"{corpus}: there is no such folder")
    texts, writers = read_texts(corpus)
    replaced: Counter[str] = Counter()
    rows = {
        line: {
            "image": picture(corpus, line),
            "text": images.write_like_a_pen(text, replaced),
            "writer": writers.get(form_of(line), line[:3]),
            "page": form_of(line),
        }
        for line, text in sorted(texts.items())
    }
    if lists := read_lists(corpus):
        splits = split_by_lists(rows, lists)
    else:
        splits = images.split_by_group(list(rows.values()), lambda row: str(row["writer"]), 0.1, 0.1)
    images.write_splits(arguments.output, splits)
    unused = len(rows) - sum(map(len, splits.values()))
    images.report(+Counter({"line that is in no split list": unused}), replaced)


def form_of(line: str) -> str:
    """The form (page) of a line: a01-000u of a01-000u-03."""
    return line.rsplit("-", 1)[0]


def picture(corpus: Path, line: str) -> Path:
    """Where the picture of a line is published."""
    return corpus / "lines" / line[:3] / form_of(line) / f"{line}.png"


def read_texts(corpus: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Text of each line, writer of each form, from the XML files or else from lines.txt and forms.txt."""
    forms = sorted((corpus / "xml").glob("*.xml"))
    if forms:
        return _read_xml(forms)
    for folder in (corpus / "ascii", corpus):
        if (folder / "lines.txt").is_file():
            return _read_ascii(folder / "lines.txt"), _read_writers(folder / "forms.txt")
    raise InputError(f"{corpus}: has neither xml/*.xml nor ascii/lines.txt; CORPUS is IAM as published")


def _read_xml(forms: Sequence[Path]) -> tuple[dict[str, str], dict[str, str]]:
    texts, writers = {}, {}
    for path in forms:
        try:
            form = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as XML ({error}); get it again") from None
        writers[path.stem] = form.get("writer-id") or path.stem[:3]
        for line in form.iter("line"):
            name, text = line.get("id"), line.get("text")
            if name is None or text is None or not LINE.fullmatch(name):
                raise InputError(f"{path}: a line has no id or no text; get it again")
            texts[name] = html.unescape(text)  # the published files escape quotation marks twice
    return texts, writers


def _read_ascii(path: Path) -> dict[str, str]:
    """Texts of lines.txt: `a01-000u-00 ok 154 19 408 746 1661 89 A|MOVE|to|stop`, # before comments."""
    texts = {}
    for number, line in read_lines(path, "list of IAM"):
        fields = line.strip().split(" ", 8)
        if line.startswith("#") or not line.strip():
            continue
        if len(fields) != 9 or not LINE.fullmatch(fields[0]):
            raise InputError(f"{path}:{number}: is not a line of IAM's lines.txt (nine fields); get it again")
        texts[fields[0]] = join_words(fields[8].split("|"))
    return texts


def join_words(words: Sequence[str]) -> str:
    """Words and punctuation marks, single, to a text: no space before .,:;!?) or after (."""
    text = " ".join(word for word in words if word)
    return re.sub(r"(?<=\() | (?=[.,:;!?)]+(?: |$))", "", text)


def _read_writers(path: Path) -> dict[str, str]:
    """Writer of each form from forms.txt: `a01-000u 000 2 prt 7 5 52 36`; empty without that file."""
    if not path.is_file():
        return {}
    rows = (line.split() for line in text_lines(path) if not line.startswith("#"))
    return {fields[0]: fields[1] for fields in rows if len(fields) > 1}


def read_lists(corpus: Path) -> dict[str, list[str]]:
    """Lines and forms of each split list; empty if there is none. InputError if only some are there."""
    found: dict[str, list[str]] = {}
    for split, names in LISTS.items():
        paths = (path for name in names for end in ENDINGS for path in sorted(corpus.rglob(name + end)))
        for path in paths:
            found.setdefault(split, []).extend(text_lines(path))
    missing = [split for split in LISTS if split not in found]
    if found and missing:
        wanted = " or ".join(f"{name}.txt" for name in LISTS[missing[0]][:2])
        raise InputError(f"{corpus}: has split lists, but none for {missing[0]}; add {wanted}")
    return found


def split_by_lists(rows: dict[str, Row], lists: dict[str, list[str]]) -> dict[str, list[Row]]:
    """Rows of each list of lines or forms. InputError for an entry that is unknown or in two lists."""
    by_form: dict[str, list[str]] = {}
    for line in rows:
        by_form.setdefault(form_of(line), []).append(line)
    owner: dict[str, str] = {}
    for split, entries in lists.items():
        for entry in entries:
            lines = [entry] if entry in rows else by_form.get(entry)
            if lines is None:
                raise InputError(
                    f"{entry}: is in the list for {split}, but the corpus has no such line or form"
                )
            for line in lines:
                if owner.setdefault(line, split) != split:
                    raise InputError(f"{line}: is in the lists for {owner[line]} and for {split}")
    return {split: [rows[line] for line in sorted(owner) if owner[line] == split] for split in lists}
