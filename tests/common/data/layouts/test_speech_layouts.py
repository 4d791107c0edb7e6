"""Each layout of recordings, on files made as it is published."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from carousel.asr.domain import SPEECH
from carousel.common.data.layouts.textgrid import read_textgrid
from carousel.common.domain import read_data
from carousel.common.errors import InputError
from tests.common.data.layouts.test_found import sound, spoken, write

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 4 
tiers? <exists> 
size = 3 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "sentences" 
        xmin = 0 
        xmax = 4 
        intervals: size = 3 
        intervals [1]:
            xmin = 0 
            xmax = 1.5 
            text = "she said ""no"" in 3 ways" 
        intervals [2]:
            xmin = 1.5 
            xmax = 2 
            text = "" 
        intervals [3]:
            xmin = 2 
            xmax = 3.75 
            text = "ça va" 
    item [2]:
        class = "IntervalTier" 
        name = "phones" 
        xmin = 0 
        xmax = 4 
        intervals: size = 1 
        intervals [1]:
            xmin = 0 
            xmax = 4 
            text = "s a v a but this is a very long label of phones" 
    item [3]:
        class = "TextTier" 
        name = "clicks" 
        xmin = 0 
        xmax = 4 
        points: size = 1 
        points [1]:
            number = 1.25 
            mark = "!" 
"""  # noqa: W291
SHORT = """File type = "ooTextFile"
"TextGrid"

0
4
<exists>
3
"IntervalTier"
"sentences"
0
4
3
0
1.5
"she said ""no"" in 3 ways"
1.5
2
""
2
3.75
"ça va"
"IntervalTier"
"phones"
0
4
1
0
4
"s a v a but this is a very long label of phones"
"TextTier"
"clicks"
0
4
1
1.25
"!"
"""


def told(found: Any, *keys: str) -> list[tuple]:
    return [tuple(row.get(key) for key in ("text", *keys)) for row in found.rows]


def test_ljspeech(tmp_path):
    for name in ("LJ001-0001", "LJ001-0002"):
        sound(tmp_path / "wavs" / f"{name}.wav")
    write(
        tmp_path / "metadata.csv",
        'LJ001-0001|Printing, "in" "1455"|Printing, "in" fourteen, fifty, five\n'
        "LJ001-0002|as it is|\nLJ001-9|x|x\n",
    )
    found = spoken(tmp_path)
    assert found.layout == "LJSpeech"
    assert told(found) == [('Printing, "in" fourteen, fifty, five',), ("as it is",)]
    assert found.left_out == [(f"{tmp_path / 'metadata.csv'}:3", "missing file")]


def test_common_voice(tmp_path):
    head = "client_id\tpath\tsentence\tup_votes\n"
    for n in range(5):
        sound(tmp_path / "clips" / f"common_voice_eu_{n}.mp3")
    write(tmp_path / "train.tsv", head + 'aa\tcommon_voice_eu_0.mp3\t"Kaixo, esan zuen\t2\n')
    write(tmp_path / "dev.tsv", head + "bb\tcommon_voice_eu_1\tBai\t2\n")
    write(tmp_path / "test.tsv", head + "cc\tcommon_voice_eu_2.mp3\tEz\t2\ncc\tgone.mp3\tEz\t2\n")
    write(tmp_path / "validated.tsv", head + "dd\tcommon_voice_eu_3.mp3\tAgur\t2\n")
    write(tmp_path / "invalidated.tsv", head + "ee\tcommon_voice_eu_4.mp3\tNope\t0\n")
    found = spoken(tmp_path)
    assert found.layout == "Common Voice"
    assert sorted(told(found, "speaker", "split")) == [
        ('"Kaixo, esan zuen', "aa", "train"),
        ("Bai", "bb", "valid"),
        ("Ez", "cc", "test"),
    ]
    assert [reason for _, reason in found.left_out] == ["missing file"] and "validated.tsv" in found.notes[0]
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").unlink()
    assert told(spoken(tmp_path), "speaker") == [("Agur", "dd")]


@pytest.fixture
def kaldi(tmp_path) -> Path:
    sound(tmp_path / "audio" / "long.wav", 3)
    sound(tmp_path / "audio" / "short.wav", 1)
    folder = tmp_path / "data" / "train"
    write(folder / "wav.scp", f"long audio/long.wav\nshort {tmp_path / 'audio' / 'short.wav'}\n")
    write(folder / "text", "u1 ONE TWO\nu2 THREE\nu3\nu4 LOST\n")
    write(folder / "utt2spk", "u1 s1\nu2 s2\nu3 s1\n")
    write(folder / "segments", "u1 long 0.25 1.5\nu2 short 0.00 -1\nu3 long 2 3\n")
    return tmp_path


def test_kaldi(kaldi):
    found = spoken(kaldi)
    assert found.layout == "Kaldi"
    assert told(found, "speaker", "start", "end", "split", "duration") == [
        ("ONE TWO", "s1", 0.25, 1.5, "train", 1.25),
        ("THREE", "s2", 0.0, None, "train", 1.0),
    ]
    assert sorted(reason for _, reason in found.left_out) == ["empty text", "no line in segments"]
    assert told(spoken(kaldi / "data" / "train"), "speaker") == [("ONE TWO", "s1"), ("THREE", "s2")]


def test_commands_of_kaldi_are_never_run(kaldi):
    file = kaldi / "data" / "train" / "wav.scp"
    victim = kaldi / "victim"
    write(file, f"long touch {victim}; cat audio/long.wav |\nshort audio/raw.ark:17\n")
    with pytest.raises(InputError, match="a command, which is not run here"):
        spoken(kaldi)
    assert not victim.exists()


def test_nemo(tmp_path):
    sound(tmp_path / "a.wav", 2)
    rows = [
        {"audio_filepath": "a.wav", "text": "whole", "duration": 2.0, "speaker": 7},
        {"audio_filepath": str(tmp_path / "a.wav"), "text": "part", "offset": 0.5, "duration": 1.0},
        {"audio_filepath": "a.wav", "duration": 2.0},
        ["no object"],
    ]
    write(tmp_path / "train_manifest.json", "".join(json.dumps(row) + "\n" for row in rows))
    found = spoken(tmp_path)
    assert found.layout == "NeMo"
    assert told(found, "start", "end", "duration", "speaker", "split") == [
        ("whole", None, None, 2.0, 7, "train"),
        ("part", 0.5, 1.5, 1.0, None, "train"),
    ]
    assert [reason for _, reason in found.left_out] == ["no text", "not an object"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_hugging_face(tmp_path, form):
    for split in ("train", "test"):
        sound(tmp_path / split / "data" / "a.wav")
        rows = [("data/a.wav", "hello, you", "s1"), ("data/b.wav", "gone", "s2")]
        if form == "csv":
            lines = ["file_name,transcription,speaker_id", *(f'{n},"{t}",{s}' for n, t, s in rows)]
        else:
            lines = [json.dumps({"file_name": n, "transcription": t, "speaker_id": s}) for n, t, s in rows]
        write(tmp_path / split / f"metadata.{form}", "\n".join(lines) + "\n")
    found = spoken(tmp_path)
    assert found.layout == "Hugging Face folder"
    assert told(found, "speaker", "split") == [("hello, you", "s1", "test"), ("hello, you", "s1", "train")]
    assert {reason for _, reason in found.left_out} == {"missing file"}


def test_any_table_with_a_header(tmp_path):
    sound(tmp_path / "rec" / "a.wav")
    write(tmp_path / "list.csv", "wav;transcript;speaker\nrec/a.wav;hello;x\n;empty;x\nrec/a.wav;a;b;c\n")
    found = spoken(tmp_path)
    assert found.layout == "table" and told(found, "speaker") == [("hello", "x")]
    assert found.notes == ["files are those of wav, texts those of transcript"]
    assert len(found.left_out) == 2


def lhotse(folder: Path, cuts: bool) -> None:
    sources = [{"type": "file", "channels": [0], "source": "audio/r.wav"}]
    recording = {"id": "r", "sources": sources, "sampling_rate": 8000, "num_samples": 24000, "duration": 3.0}
    said = {"id": "u", "recording_id": "r", "start": 0.25, "duration": 1.0, "channel": 0, "text": "yes",
            "speaker": "ann"}  # fmt: skip
    cut = {"id": "c", "start": 1.0, "duration": 2.0, "channel": 0, "supervisions": [said],
           "recording": recording, "type": "MonoCut"}  # fmt: skip
    shell = {**cut, "recording": {**recording, "sources": [{"type": "command", "source": "rm -r /"}]}}
    files = (
        {"cuts_train": [cut, shell]} if cuts else {"supervisions_train": [said], "recordings": [recording]}
    )
    for name, rows in files.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(("cuts", "start"), [(True, 1.25), (False, 0.25)])
def test_lhotse(tmp_path, cuts, start):
    sound(tmp_path / "audio" / "r.wav", 3)
    lhotse(tmp_path, cuts)
    found = spoken(tmp_path)
    assert found.layout == "lhotse"
    assert told(found, "start", "end", "speaker", "split") == [("yes", start, start + 1, "ann", "train")]
    assert [reason.partition(",")[0] for _, reason in found.left_out] == [
        "a recording of type command"
    ] * cuts


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_textgrid(tmp_path, text, encoding):
    sound(tmp_path / "talk.wav", 4)
    sound(tmp_path / "other.wav")
    write(tmp_path / "talk.TextGrid", text, encoding)
    found = spoken(tmp_path)
    assert found.layout == "TextGrid"
    assert told(found, "start", "end") == [('she said "no" in 3 ways', 0.0, 1.5), ("ça va", 2.0, 3.75)]
    assert found.left_out == [("other.wav", "no TextGrid beside it")]
    assert read_data(tmp_path, (SPEECH,), tier="phones")[1].rows[0]["end"] == 4


@pytest.mark.parametrize("cut", [60, 200, 420])
def test_a_damaged_textgrid_is_named(tmp_path, cut):
    write(tmp_path / "a.TextGrid", LONG[:cut])
    with pytest.raises(InputError, match=r"a\.TextGrid: breaks off or is damaged"):
        read_textgrid(tmp_path / "a.TextGrid")


def short_form(*tiers: tuple[str, list[tuple[float, float, str]]]) -> str:
    lines = ['File type = "ooTextFile"', '"TextGrid"', "0", "4", "<exists>", str(len(tiers))]
    for name, intervals in tiers:
        lines += ['"IntervalTier"', f'"{name}"', "0", "4", str(len(intervals))]
        lines += [f'{start}\n{end}\n"{text}"' for start, end, text in intervals]
    return "\n".join(lines) + "\n"


def test_tiers_of_speakers_and_tiers_in_doubt(tmp_path):
    sound(tmp_path / "a.wav", 4)
    ann, bob = [(0, 1, "hello bob"), (2, 3, "fine")], [(1, 2, "how are you")]
    write(tmp_path / "a.TextGrid", short_form(("ann", ann), ("bob", bob), ("notes", [(0, 4, "a b c d e")])))
    found = spoken(tmp_path)
    assert told(found, "speaker") == [("hello bob", "ann"), ("fine", "ann"), ("how are you", "bob")]
    # two tiers that say something at the same time may be a text and what it means in another language
    write(
        tmp_path / "a.TextGrid",
        short_form(("eus", [(0, 1, "kaixo mundua")]), ("eng", [(0, 1, "hello world")])),
    )
    with pytest.raises(InputError, match="may both be the texts; choose with --tier NAME"):
        spoken(tmp_path)
    assert told(read_data(tmp_path, (SPEECH,), tier="eus")[1]) == [("kaixo mundua",)]


def test_montreal_forced_aligner(tmp_path):
    sound(tmp_path / "a.wav", 4)
    words = [(0, 1, "hello"), (1, 2, "sil"), (2, 3, "you")]
    write(
        tmp_path / "a.TextGrid",
        short_form(("ann - words", words), ("ann - phones", [(0, 3, "HH EH L OW Y UW")])),
    )
    assert told(spoken(tmp_path), "speaker", "start") == [("hello", "ann", 0.0), ("you", "ann", 2.0)]


def test_words_of_an_aligner_give_way_to_whole_texts(tmp_path):
    sound(tmp_path / "a.wav", 4)
    write(tmp_path / "a.TextGrid", short_form(("words", [(0, 1, "hello"), (2, 3, "you")])))
    assert told(spoken(tmp_path)) == [("hello",), ("you",)]
    write(tmp_path / "a.lab", "hello\nyou\n")
    assert told(spoken(tmp_path)) == [("hello you",)]
    assert told(read_data(tmp_path, (SPEECH,), tier="words")[1]) == [("hello",), ("you",)]


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/field%20work/talk%201.wav" MIME_TYPE="audio/x-wav"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="250"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1500"/>
    <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="1600"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="2900"/>
    <TIME_SLOT TIME_SLOT_ID="ts5"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" PARTICIPANT="Ann" TIER_ID="tx@A">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>kaixo &amp; agur</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a9" TIME_SLOT_REF1="ts4" TIME_SLOT_REF2="ts5">
      <ANNOTATION_VALUE>without an end</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" PARTICIPANT="Bob" TIER_ID="tx@B">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE>bai, etorri</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="ft" PARENT_REF="tx@A" TIER_ID="ft@A">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>hello and good-bye to everybody</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def test_elan(tmp_path):
    sound(tmp_path / "sound" / "talk 1.wav", 3)
    write(tmp_path / "session.eaf", EAF)
    found = spoken(tmp_path)
    assert found.layout == "ELAN"
    assert told(found, "speaker", "start", "end") == [
        ("kaixo & agur", "Ann", 0.25, 1.5),
        ("bai, etorri", "Bob", 1.6, 2.9),
    ]


def test_xml_with_entities_is_refused(tmp_path):
    sound(tmp_path / "talk 1.wav", 3)
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    write(tmp_path / "session.eaf", EAF.replace("?>\n", f"?>\n{bomb}\n", 1).replace("kaixo", "&b;"))
    with pytest.raises(InputError, match="a document type with declarations"):
        spoken(tmp_path)
