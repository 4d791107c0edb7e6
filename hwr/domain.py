"""Line images and pen strokes as the commands, the training and the Python interface take them."""

from __future__ import annotations

import io
import os
from pathlib import Path

from carousel.common.domain import Domain
from carousel.common.files import HEAD, first_bytes
from carousel.hwr.image import PICTURES

PAGES = ("alto", "PcGts")  # root elements of ALTO and PAGE


def head_of(source: str | os.PathLike[str] | io.BytesIO) -> bytes:
    """The beginning of a file; nothing where it cannot be read, of which reading it says why."""
    return source.getvalue()[:HEAD] if isinstance(source, io.BytesIO) else first_bytes(Path(source), HEAD)


def is_page_xml(head: bytes) -> bool:
    """Whether a file that begins so is ALTO or PAGE, which tell the lines of a picture beside them."""
    from carousel.common import markup

    return markup.root_tag(head) in PAGES


def is_ink_xml(path: Path) -> bool:
    """Whether a file of a folder is ink that ends in .xml, as IAM-OnDB's does; much else ends so, too."""
    if path.suffix.lower() != ".xml":
        return False
    from carousel.hwr.ink import file as ink

    return ink.is_ink_xml(first_bytes(path, HEAD))


# Thresholds: best F1 on valid parts, for words of four letters or more that are in them twice or more often
# (298 words, Copiste lines: 90.6 %) or three times (363 words, UNIPEN lines: 93.4 %).
IMAGE = Domain(
    name="image",
    key="image",
    suffixes=PICTURES,
    models=Path(__file__).parent / "models",
    samples=Path(__file__).parent / "samples",
    module="carousel.hwr.inputs",
    threshold=0.44,
    inner="",  # as grep -w: "eau" stands in "l'eau"
    tells=is_page_xml,
    layouts="carousel.hwr.page.layouts",
)
INK = Domain(
    name="ink",
    key="strokes",
    suffixes=(".json", ".jsonl", ".inkml", ".dat", ".unp", ".unipen"),
    models=IMAGE.models,
    samples=IMAGE.samples,
    module="carousel.hwr.inputs",
    threshold=0.43,
    # JSON, XML, UNIPEN, UTF-16 and gzip, as hwr.ink.file reads them; no picture that Pillow reads starts so.
    starts=(b"{", b"[", b"<", b".", b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b"),
    sniff=is_ink_xml,
    layouts="carousel.hwr.ink.layouts",
)
