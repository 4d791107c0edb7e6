"""Folders of line images with their texts, such as your own.

Each FOLDER becomes OUTPUT/NAME/{train,valid,test}.jsonl. It holds either manifests (train.jsonl and
valid.jsonl, perhaps test.jsonl, beside the pictures they name), or, at any depth, pictures with their text
beside them as kraken, OCR-D and eScriptorium write it (page_001.png and page_001.gt.txt). Below subfolders
train, valid (or val, validation, dev, eval) and test that is the split; otherwise pages are split by a hash
of their names, which gives the same split each time.

Texts become NFC with typographic variants as a pen writes them (see recipes/images.py; --as-is leaves them).
In Copiste's transcription `>word<` is crossed out and kept as it stands; `><` is crossed out beyond reading,
and such a line is left out and counted.
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from carousel.common.cli.options import number
from carousel.common.data.layouts.found import SPLIT_NAMES
from carousel.common.errors import InputError
from carousel.common.text.lines import read_lines
from carousel.recipes import images
from carousel.recipes.splits import SPLITS, Row, find_file, listed_images

SHARE = "share of the lines, where FOLDER has no split (default: %(default)s)"
OPTIONS = {
    "corpus": {"nargs": "+", "metavar": "FOLDER", "help": "folder of line images and texts"},
    "--output": {
        "type": Path,
        "default": Path("data/htr_lines"),
        "help": "folder for the manifests (default: %(default)s)",
    },
    "--valid": {"type": number(0, 1), "default": 0.1, "help": SHARE},
    "--test": {"type": number(0, 1), "default": 0.1, "help": SHARE},
    "--as-is": {"action": "store_true", "help": "keep typographic quotes, dashes and spaces"},
}
TEXT = ".gt.txt"
PICTURES = [
    kind + suffix for kind in ("", ".nrm", ".bin", ".dew") for suffix in images.SUFFIXES
]  # OCR-D's kinds
UNREADABLE = "><"


def prepare(arguments: Namespace) -> None:
    """Writes the manifests of every folder. Raises InputError for the first that cannot be used."""
    names = [folder.resolve().name for folder in arguments.corpus]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(
                f"{name}: two folders of this name would write the same manifests; give them one by one "
                "with another --output"
            )
    for folder, name in zip(arguments.corpus, names, strict=True):
        prepare_folder(folder, arguments.output / name, arguments)


def prepare_folder(folder: Path, output: Path, arguments: Namespace) -> None:
    """OUTPUT/{train,valid,test}.jsonl of one folder, and what was replaced and left out."""
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    if (folder / "train.jsonl").is_file():
        files = {name: folder / f"{name}.jsonl" for name in SPLITS}
        splits = {name: list(listed_images(file)) for name, file in files.items() if file.is_file()}
    else:
        splits = split(list(_beside(folder)), folder, arguments.valid, arguments.test)
    left_out: Counter[str] = Counter()
    replaced: Counter[str] = Counter()
    for name, rows in splits.items():
        splits[name] = [row for row in rows if UNREADABLE not in row["text"]]
        left_out[f"{UNREADABLE!r} (crossed out beyond reading) of {name}"] += len(rows) - len(splits[name])
        if not arguments.as_is:
            for row in splits[name]:
                row["text"] = images.write_like_a_pen(row["text"], replaced)
    images.write_splits(output, splits, whole=("test",))
    images.report(+left_out, replaced)


def _beside(folder: Path) -> Iterator[Row]:
    """Rows of the pictures that have their text beside them, by path; the page stands as the writer."""
    texts = sorted(folder.rglob(f"*{TEXT}"))
    if not texts:
        raise InputError(
            f"{folder}: holds neither train.jsonl nor pictures with their text beside them (NAME{TEXT})"
        )
    for path in texts:
        stem = path.with_name(path.name.removesuffix(TEXT))
        page = (path.parent.relative_to(folder) / images.page_of(stem.name)).as_posix()
        text = "\n".join(line for _, line in read_lines(path, "text of a line")).strip()
        missing = stem.with_name(stem.name + images.SUFFIXES[0])  # the report counts it
        yield {"image": find_file(stem, PICTURES) or missing, "text": text, "writer": page}


def split(rows: Sequence[Row], folder: Path, valid: float, test: float) -> dict[str, list[Row]]:
    """Rows by the subfolder they lie below, or by a hash of their pages if there is none."""
    found: dict[str, list[Row]] = {name: [] for name in SPLITS}
    for row in rows:
        first = Path(row["image"]).relative_to(folder).parts[0].lower()
        if first in SPLIT_NAMES:
            found[SPLIT_NAMES[first]].append(row)
    if not any(found.values()):
        found = images.split_by_group(rows, _page, valid, test)
    elif outside := len(rows) - sum(map(len, found.values())):
        raise InputError(
            f"{folder}: {outside} lines lie outside the subfolders train, valid and test; move them into one"
        )
    elif not found["train"]:
        raise InputError(f"{folder}: has no subfolder train with lines in it")
    elif not found["valid"]:
        found |= {**images.split_by_group(found["train"], _page, valid, 0), "test": found["test"]}
    return {name: part for name, part in found.items() if part}


def _page(row: Row) -> str:
    return str(row["writer"])
