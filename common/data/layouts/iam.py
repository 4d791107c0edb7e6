"""The IAM handwriting database as published (Marti & Bunke, IJDAR 2002)."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from carousel.common.data.layouts.found import Folder, Found, Row
from carousel.common.errors import InputError
from carousel.common.markup import all_below, read_xml, root_of
from carousel.common.text.lines import read_lines

LISTS = {
    "train": ("trainset", "train", "tr"),
    "valid": ("validationset1", "validationset2", "valid", "validation", "val", "va"),
    "test": ("testset", "test", "te"),
}
ENDINGS = (".txt", ".uttlist", ".lst")
LINE = re.compile(r"[a-z]\d\d-\d{3}[a-z]?-\d\d")  # form and number of the line


def claims(folder: Folder) -> bool:
    root = folder.root
    if not (root / "lines").is_dir():
        return False
    texts = any((root / name).is_file() for name in ("ascii/lines.txt", "lines.txt"))
    return texts or any(root_of(form) == "form" for form in sorted((root / "xml").glob("*.xml"))[:1])


def read(folder: Folder, found: Found) -> None:
    """Every line; of those in the split lists that come with the corpus, the split."""
    texts, writers = read_texts(folder.root)
    rows: dict[str, Row] = {}
    for line, text in sorted(texts.items()):
        image = picture(folder.root, line)
        image = image if image.is_file() else folder.by_stem.get(image.with_suffix(""), image)
        if image.is_file():
            rows[line] = {"image": image, "text": text, "writer": writers.get(form_of(line), line[:3])}
        else:
            found.leave(line, "missing picture")
    lists = read_lists(folder.root)
    # a list may name lines whose pictures are missing
    forms = set(map(form_of, rows))
    known = {split: [e for e in names if e in rows or e in forms] for split, names in lists.items()}
    told = {id(row): split for split, part in split_by_lists(rows, known).items() for row in part}
    for line, row in rows.items():
        writer = row["writer"]
        found.add(row["image"], row["text"], writer=writer, page=form_of(line), split=told.get(id(row)))


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
        form = read_xml(path)
        writers[path.stem] = form.get("writer-id") or path.stem[:3]
        for line in all_below(form, "line"):
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
    rows = (line.split() for line in _entries(path) if not line.startswith("#"))
    return {fields[0]: fields[1] for fields in rows if len(fields) > 1}


def _entries(path: Path) -> list[str]:
    return [line.strip() for _, line in read_lines(path, "list of the corpus") if line.strip()]


def read_lists(corpus: Path) -> dict[str, list[str]]:
    """Lines and forms of each split list; empty if there is none. InputError if only some are there."""
    found: dict[str, list[str]] = {}
    for split, names in LISTS.items():
        paths = (path for name in names for end in ENDINGS for path in sorted(corpus.rglob(name + end)))
        for path in paths:
            found.setdefault(split, []).extend(_entries(path))
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
