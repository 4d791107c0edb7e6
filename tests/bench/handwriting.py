"""Line images read by us and by others, on one core: `make bench-handwriting`, or
python tests/bench/handwriting.py [--data FOLDER] [--count N] [--pages FOLDER] [--language FRA].

Lines are the first of Copiste's test manifest, as the recipe htr_lines prepares it. Ours: the model that
ships, greedy and with the language model beside it. PP-OCRv6 (the package rapidocr): its recogniser alone,
which knows where the line is. Tesseract (the program, with the data of the language): one line a picture,
all pictures in one process, so that its start counts once. Times are processor time from the file to the
text, without what the first lines cost once. CER is that of `evaluate`; PP-OCR and Tesseract write some
characters of French otherwise or not at all, which counts. Pages (pictures below a folder) are read by us
alone, with lines found. The last line is JSON.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from carousel.common.cli.streams import say
from carousel.common.data.manifest import Sample, read_manifest
from carousel.common.errors import InputError
from carousel.common.text.metrics import error_rates

LINES = 25  # of the page whose time is told

Reader = Callable[[Sequence[Path]], list[str]]


def ours(decoder: str | None = None) -> Reader:
    """In batches, as `hwr recognise` does, with the language model beside the model unless it is greedy."""
    from carousel.common.cli.decoding import asked
    from carousel.common.model.catalogue import open_model
    from carousel.common.options import Decoding
    from carousel.common.recogniser import transcribe
    from carousel.hwr.domain import IMAGE
    from carousel.hwr.inputs import open as opened

    model = open_model(None, IMAGE.models, ("image",))
    options = asked(Decoding(decoder=decoder), model)

    def read(paths: Sequence[Path]) -> list[str]:
        items = [
            prepare(model.features, None) for path in paths for _, prepare in opened(path, "image", "line")
        ]
        return [found.text for found in transcribe(model, items, **options)]

    return read


def pp_ocr() -> Reader:
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    engine = RapidOCR(params={"Global.log_level": "error", **threads})

    def read(paths: Sequence[Path]) -> list[str]:
        found = [engine(str(path), use_det=False, use_cls=False, use_rec=True) for path in paths]
        return [" ".join(one.txts or ()) for one in found]

    return read


def tesseract(language: str) -> Reader:
    if shutil.which("tesseract") is None:
        raise ImportError("no tesseract is on the PATH")
    known = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True).stdout
    if language not in known.split():
        raise ImportError(f"tesseract lacks the data of {language}")

    def read(paths: Sequence[Path]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            names = Path(folder, "names.txt")
            names.write_text("".join(f"{path.resolve()}\n" for path in paths))
            command = ["tesseract", str(names), str(Path(folder, "found")), "--psm", "7", "-l", language]
            environment = os.environ | {"OMP_THREAD_LIMIT": "1"}
            subprocess.run(command, check=True, capture_output=True, env=environment)
            pages = Path(folder, "found.txt").read_text(encoding="utf-8").split("\f")
        return [" ".join(page.split()) for page in pages[: len(paths)]]

    return read


def spent() -> float:
    """s of processor time, of this process and of those that it started."""
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + child.ru_utime + child.ru_stime


def measured(name: str, read: Reader, samples: Sequence[Sample]) -> dict[str, Any]:
    paths = [sample.image for sample in samples if sample.image is not None]
    read(paths[:8])  # what is compiled or loaded at the first use
    began = spent()
    texts = read(paths)
    seconds = spent() - began
    rates = error_rates((sample.text, text) for sample, text in zip(samples, texts, strict=True))
    return {"reader": name, "ms_a_line": round(1000 * seconds / len(paths), 2), "cer": round(rates["cer"], 4)}


def pages(folder: Path) -> dict[str, Any] | None:
    """Seconds that a page of LINES lines takes us."""
    import carousel

    pictures = [path for path in sorted(folder.rglob("*")) if path.suffix in (".webp", ".png", ".jpg")]
    if not pictures:
        return None
    reader = carousel.load("lines")
    reader.recognise(pictures[0], layout="page")
    began, lines = spent(), 0
    for path in pictures:
        lines += len(reader.recognise(path, layout="page").text.split("\n"))
    return {"pages": len(pictures), "lines": lines, "s_a_page": round(LINES * (spent() - began) / lines, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="where recipes prepare (default: data)"
    )
    parser.add_argument("--count", type=int, default=325, help="lines (default: 325, all of Copiste's test)")
    parser.add_argument("--pages", type=Path, help="folder of pictures of pages")
    parser.add_argument("--language", default="fra", help="of Tesseract (default: fra)")
    arguments = parser.parse_args()
    try:
        samples = list(read_manifest(arguments.data / "htr_lines/copiste-lines/test.jsonl"))[
            : arguments.count
        ]
    except (InputError, OSError) as error:
        say(f"left out: {error} (`hwr prepare htr_lines` makes it; --data says where it is)")
        return
    readers: dict[str, Callable[[], Reader]] = {
        "ours, greedy": lambda: ours(decoder="greedy"),
        "ours, with LM": ours,
        "PP-OCRv6": pp_ocr,
        "Tesseract": lambda: tesseract(arguments.language),
    }
    rows = []
    print(f"{'reader':14s} ms a line     CER")
    for name, make in readers.items():
        try:
            row = measured(name, make(), samples)
        except ImportError as error:
            say(f"{name} is left out: {error}")
            continue
        rows.append(row)
        print(f"{name:14s} {row['ms_a_line']:9.2f} {row['cer']:7.2%}", flush=True)
    found = pages(arguments.pages) if arguments.pages else None
    if found:
        print(f"a page of {LINES} lines: {found['s_a_page']:.2f} s (mean of {found['pages']} pages)")
    print(json.dumps({"lines": rows, "pages": found}))


if __name__ == "__main__":
    main()
