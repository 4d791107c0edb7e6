"""Folders of line images with their texts -> OUTPUT/NAME/{train,valid,test}.jsonl for each FOLDER.

A FOLDER holds either manifests (train.jsonl and valid.jsonl, perhaps test.jsonl, beside the pictures they
name), or, at any depth, pictures with their text beside them as kraken, OCR-D and eScriptorium write it
(page_001.png and page_001.gt.txt). Below subfolders train, valid (or val, validation, dev, eval) and test
that is the split; otherwise pages are split by a hash of their names, which gives the same split each time.

Texts become NFC with typographic variants as a pen writes them (see recipes/images.py; --as-is leaves them).
In Copiste's transcription `>word<` is crossed out and kept as it stands; `><` is crossed out beyond reading,
and such a line is left out and counted.
"""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from carousel.common.cli import options as arguments
from carousel.common.data.manifest import read_manifest
from carousel.common.errors import InputError
from carousel.recipes import command, images
from carousel.recipes.images import Row

SPLITS = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid", "eval": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
TEXT = ".gt.txt"
UNREADABLE = "><"


def prepare(arguments: Namespace) -> None:
    """Write the manifests of every folder. Raises InputError for the first that cannot be used."""
    names = [folder.resolve().name for folder in arguments.folders]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{twice[0]}: two folders of this name would write the same manifests; give them one by one "
            "with another --output"
        )
    for folder, name in zip(arguments.folders, names, strict=True):
        prepare_folder(folder, arguments.output / name, arguments)


def prepare_folder(folder: Path, output: Path, arguments: Namespace) -> None:
    """OUTPUT/{train,valid,test}.jsonl of one folder, and what was replaced and left out."""
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    if (folder / "train.jsonl").is_file():
        splits = {
            name: list(_listed(folder / f"{name}.jsonl"))
            for name in ("train", "valid", "test")
            if (folder / f"{name}.jsonl").is_file()
        }
    else:
        splits = split(list(_beside(folder)), folder, arguments.valid, arguments.test)
    counts: Counter[str] = Counter()
    unreadable = dict.fromkeys(splits, 0)
    for name, rows in splits.items():
        unreadable[name] = sum(UNREADABLE in row["text"] for row in rows)
        splits[name] = [row for row in rows if UNREADABLE not in row["text"]]
        if not arguments.as_is:
            for row in splits[name]:
                row["text"] = images.write_like_a_pen(row["text"], counts)
    images.write_splits(output, splits)
    for name, count in unreadable.items():
        if count:
            print(f"  left out of {name}: {count} × {UNREADABLE!r}, crossed out beyond reading")
    for line in images.replacements(counts):
        print(f"  {line}")


def _listed(manifest: Path) -> Iterator[Row]:
    """Rows of a manifest of line images."""
    for sample in read_manifest(manifest):
        if sample.image is None:
            raise InputError(f'{sample.where}: has no "image"; this recipe is for line images')
        yield {"image": sample.image, "text": sample.text, "writer": sample.group, **sample.extra}


def _beside(folder: Path) -> Iterator[Row]:
    """Rows of the pictures that have their text beside them, in order of their paths; the page stands as the
    writer.
    """
    texts = sorted(folder.rglob(f"*{TEXT}"))
    if not texts:
        raise InputError(
            f"{folder}: holds neither train.jsonl nor pictures with their text beside them (NAME{TEXT})"
        )
    for path in texts:
        stem = path.name.removesuffix(TEXT)
        try:
            text = path.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: cannot be read as UTF-8 text ({error}); correct or remove it"
            ) from None
        page = (path.parent.relative_to(folder) / images.page_of(stem)).as_posix()
        yield {"image": _picture(path.with_name(stem)), "text": text, "writer": page}


def _picture(stem: Path) -> Path:
    """The picture of which `stem` is the path without its ending; OCR-D also writes NAME.bin.png and
    NAME.nrm.png.
    """
    for kind in ("", ".nrm", ".bin", ".dew"):
        for suffix in images.SUFFIXES:
            if (path := stem.with_name(stem.name + kind + suffix)).is_file():
                return path
    return stem.with_name(stem.name + images.SUFFIXES[0])  # the report counts it as missing


def split(rows: Sequence[Row], folder: Path, valid: float, test: float) -> dict[str, list[Row]]:
    """Rows by the subfolder they lie below (train, valid, test), or by a hash of their pages where there is
    none.
    """
    found: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for row in rows:
        first = Path(row["image"]).relative_to(folder).parts[0].lower()
        if first in SPLITS:
            found[SPLITS[first]].append(row)
    if not any(found.values()):
        return {name: part for name, part in images.split_by_group(rows, _page, valid, test).items() if part}
    outside = len(rows) - sum(map(len, found.values()))
    if outside:
        raise InputError(
            f"{folder}: {outside} lines lie outside the subfolders train, valid and test; move them into one"
        )
    if not found["train"]:
        raise InputError(f"{folder}: has no subfolder train with lines in it")
    if not found["valid"]:
        halves = images.split_by_group(found["train"], _page, valid, 0)
        found["train"], found["valid"] = halves["train"], halves["valid"]
    return {name: part for name, part in found.items() if part}


def _page(row: Row) -> str:
    return str(row["writer"])


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m recipes.htr_lines.prepare`."""
    parser = command.parser("carousel.recipes.htr_lines.prepare", __doc__)
    parser.add_argument(
        "folders", type=Path, metavar="FOLDER", nargs="+", help="folder of line images and texts"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("data/htr_lines"), help="folder for manifests [%(default)s]"
    )
    parser.add_argument(
        "--valid",
        type=arguments.number(0, 1),
        default=0.1,
        help="share of the lines, where FOLDER has no split [0.1]",
    )
    parser.add_argument(
        "--test",
        type=arguments.number(0, 1),
        default=0.1,
        help="share of the lines, where FOLDER has no split [0.1]",
    )
    parser.add_argument("--as-is", action="store_true", help="keep typographic quotes, dashes and spaces")
    return command.run(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
