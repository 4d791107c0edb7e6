"""IAM On-Line Handwriting Database (IAM-OnDB): English lines written on a whiteboard.

CORPUS holds, as published, the unpacked archives lineStrokes/ (a01/a01-000/a01-000u-01.xml …) and ascii/
(a01/a01-000/a01-000u.txt …) and the lists of a benchmark task, trainset.txt, testset_v.txt, testset_t.txt and
testset_f.txt, in CORPUS itself or one folder below. As in Graves et al. (PAMI 2009): trainset is train,
testset_v (first validation set) is valid, testset_f is test; testset_t (second validation set) becomes
second_valid. Where original/ (a01/a01-000/strokesu.xml …) is unpacked too, it names the writers; else each
form stands for a writer.
"""

import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from carousel.common.cli.streams import say
from carousel.common.errors import InputError
from carousel.hwr.ink.file import read_ink
from carousel.recipes.ink import compact, write_splits
from carousel.recipes.splits import Row

LISTS = {
    "train": "trainset.txt",
    "valid": "testset_v.txt",
    "second_valid": "testset_t.txt",
    "test": "testset_f.txt",
}
OPTIONAL = {"second_valid"}
FORM = re.compile(r"[a-z]\d\d-\d\d\d[a-z]?")


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError where lists, texts or strokes are missing."""
    corpus = arguments.corpus
    for folder in ("lineStrokes", "ascii"):
        if not (corpus / folder).is_dir():
            raise InputError(f"{corpus / folder}: is missing; unpack the archives of IAM-OnDB into CORPUS")
    lists = {split: _find(corpus, name, split in OPTIONAL) for split, name in LISTS.items()}
    missing: Counter[str] = Counter()
    splits = {split: list(_rows(corpus, path, missing)) for split, path in lists.items() if path is not None}
    for fault, count in missing.most_common():
        say(f"{count} × {fault}")
    write_splits(arguments.output, splits)


def _find(corpus: Path, name: str, optional: bool) -> Path | None:
    """The list of a split, in CORPUS or one folder below."""
    for path in (corpus / name, *sorted(corpus.glob(f"*/{name}"))):
        if path.is_file():
            return path
    if optional:
        return None
    raise InputError(f"{corpus / name}: is missing; get the lists of the task (t1 or t2) from IAM-OnDB")


def _rows(corpus: Path, path: Path, missing: Counter[str]) -> Iterator[Row]:
    """Rows of all lines of the forms that a list names; what is not there is counted in `missing`."""
    for form in path.read_text(encoding="utf-8-sig").split():
        if not FORM.fullmatch(form):
            raise InputError(f"{path}: {form!r} is not the name of a form such as a01-000u")
        folder = Path(form[:3]) / form[:7]
        ascii_file = corpus / "ascii" / folder / f"{form}.txt"
        strokes = sorted((corpus / "lineStrokes" / folder).glob(f"{form}-[0-9][0-9].xml"))
        if not ascii_file.is_file() or not strokes:
            missing[f"form of {path.name} without text or strokes"] += 1
            continue
        texts = read_texts(ascii_file)
        writer = find_writer(corpus / "original" / folder, form) or form
        for file in strokes:
            number = int(file.stem[-2:])
            if number > len(texts):
                missing[f"line of {path.name} with strokes and no text"] += 1
                continue
            ink = [compact(stroke) for stroke in read_ink(file)]
            yield {"strokes": ink, "text": texts[number - 1], "writer": writer, "id": file.stem}


def read_texts(path: Path) -> list[str]:
    """The lines of a form as corrected by hand: those under the heading CSR: of its text file."""
    lines = path.read_text(encoding="latin-1").splitlines()
    heads = [number for number, line in enumerate(lines) if line.strip() == "CSR:"]
    if not heads:
        raise InputError(f"{path}: has no heading CSR:, under which the lines of the form stand")
    return [" ".join(line.split()) for line in lines[heads[0] + 1 :] if line.strip()]


def find_writer(folder: Path, form: str) -> str | None:
    """Who wrote a form such as a01-000u, from General/Form of original/a01/a01-000/strokesu.xml."""
    file = folder / f"strokes{form[7:]}.xml"
    if not file.is_file():
        return None
    try:
        found = next((element for _, element in ElementTree.iterparse(file) if element.tag == "Form"), None)
    except ElementTree.ParseError as error:
        raise InputError(f"{file}: is not well-formed XML ({error})") from None
    return found.get("writerID") if found is not None else None
