"""The layouts in which people have recordings or pictures with texts, and reading a folder in any of them."""

from carousel.common.data.layouts import (
    beside,
    elan,
    iam,
    jsonlines,
    kaldi,
    own,
    rimes,
    tables,
    textgrid,
)
from carousel.common.data.layouts.found import SPLITS, Folder, Found, Kind, Layout, Row, group_of, read_folder

__all__ = ["LAYOUTS", "OWN", "SPLITS", "Folder", "Found", "Kind", "Layout", "Row", "group_of", "read_folder"]

SOUND, PICTURE, INK = ("audio",), ("image",), ("strokes",)
ANY = (*SOUND, *PICTURE, *INK)

# The first that fits is read, so what is told by more stands before what is told by less.
OWN = Layout("manifest", "manifests (.jsonl)", ANY, own.claims, own.read)
LAYOUTS = (
    OWN,
    Layout("NeMo", "JSON lines with audio_filepath", SOUND, jsonlines.nemo_files, jsonlines.read_nemo),
    Layout("lhotse", "lhotse's cuts (.jsonl.gz)", SOUND, jsonlines.lhotse_files, jsonlines.read_lhotse),
    Layout("Kaldi", "Kaldi's wav.scp and text", SOUND, kaldi.directories, kaldi.read),
    Layout("Common Voice", "Common Voice's train.tsv or validated.tsv", SOUND,
           tables.common_voice_files, tables.read_common_voice),
    Layout("Hugging Face folder", "metadata.csv or .jsonl with file_name and text", (*SOUND, *PICTURE),
           tables.hugging_face_files, tables.read_hugging_face),
    Layout("LJSpeech", "LJSpeech's metadata.csv", SOUND, tables.ljspeech_files, tables.read_ljspeech),
    Layout("IAM", "IAM's lines/ with xml/ or lines.txt", PICTURE, iam.claims, iam.read),
    Layout("RIMES", "XML of RIMES", PICTURE, rimes.files, rimes.read),
    Layout("ELAN", "ELAN's .eaf beside recordings", SOUND, elan.claims, elan.read),
    Layout("TextGrid", "Praat's .TextGrid beside recordings", SOUND, textgrid.claims, textgrid.read),
    Layout("table", "a .csv or .tsv with columns of files and texts", (*SOUND, *PICTURE),
           tables.table_files, tables.read_tables),
    Layout("texts beside files", "files with .txt, .lab or .gt.txt beside them", (*SOUND, *PICTURE),
           beside.claims, beside.read),
)  # fmt: skip
