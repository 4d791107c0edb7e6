"""The layouts in which people have recordings or pictures with texts, and reading a folder in any of them."""

from carousel.common.data.layouts import beside, jsonlines, own
from carousel.common.data.layouts.found import SPLITS, Folder, Found, Kind, Layout, Row, group_of, read_folder

__all__ = ["LAYOUTS", "SPLITS", "Folder", "Found", "Kind", "Layout", "Row", "group_of", "read_folder"]

SOUND, PICTURE, INK = ("audio",), ("image",), ("strokes",)
ANY = (*SOUND, *PICTURE, *INK)

# The first that fits is read, so what is told by more stands before what is told by less.
LAYOUTS = (
    Layout("manifest", "manifests (.jsonl)", ANY, own.claims, own.read),
    Layout("NeMo", "JSON lines with audio_filepath", SOUND, jsonlines.nemo_files, jsonlines.read_nemo),
    Layout("lhotse", "lhotse's cuts (.jsonl.gz)", SOUND, jsonlines.lhotse_files, jsonlines.read_lhotse),
    Layout("files beside texts", "files with .txt, .lab or .gt.txt beside them", (*SOUND, *PICTURE),
           beside.claims, beside.read),
)  # fmt: skip
