"""Text files with a byte order mark, packed ones, and damaged ones, by all that reads them."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from carousel.common.cli.demo import truth
from carousel.common.data.manifest import read_manifest
from carousel.common.decoding import grammar, hotwords
from carousel.common.decoding.constraints import constraints_of
from carousel.common.errors import InputError
from carousel.common.language import ngram_files, texts
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.file import open_text

LINES = "ÇA VA\r\nOUI\r\n"
PACKERS = [lambda data: data, gzip.compress, lzma.compress, bz2.compress]
ARPA = (
    "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1\t<s>\t-0.3\n-1\t</s>\n-0.5\tca va\t-0.2\n"
    "-0.7\toui\n\n\\2-grams:\n-0.1\t<s> oui\n\n\\end\\\n"
).replace("ca va", "ça\u00a0va")


@pytest.mark.parametrize("pack", PACKERS)
def test_the_mark_and_the_packing_are_no_part_of_the_text(tmp_path: Path, pack):
    path = tmp_path / "named.anyhow"
    path.write_bytes(pack(LINES.encode("utf-8-sig")))
    with open_text(path) as file:
        assert list(file) == ["ÇA VA\n", "OUI\n"]
    assert list(texts.read_texts(path)) == ["ÇA VA\n", "OUI\n"]


def test_whoever_reads_text_reads_it_with_a_mark(tmp_path: Path):
    alphabet, path = Alphabet(" ÇAVOUI"), tmp_path / "words.txt"
    path.write_bytes(LINES.encode("utf-8-sig"))
    assert list(hotwords.read(path)) == ["ÇA VA", "OUI"]
    assert (
        len(constraints_of(alphabet, lexicon=path).tables.lexicon_nodes) == 6
    )  # the begin and the letters of ÇA and OUI
    rules, _ = grammar.read(path)
    assert rules["sentence"].parts[0].text == "ÇA VA"
    manifest = tmp_path / "m.jsonl"
    manifest.write_bytes(
        (json.dumps({"text": "OUI", "strokes": [[0, 0, 1, 1]]}) + "\r\n").encode("utf-8-sig")
    )
    assert [sample.text for sample in read_manifest(manifest)] == ["OUI"]
    manifest.write_bytes(bz2.compress(manifest.read_bytes()))
    assert [sample.text for sample in read_manifest(manifest)] == ["OUI"]
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"text": "OUI"}')
    assert truth(tmp_path / "a.png") == "OUI"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_arpa_files_of_others(tmp_path: Path, mark: bytes, end: str):
    """Tokens are parted by ASCII spaces only, and before the data there may be anything."""
    prose = (
        "Data formats:\n\\data\\ begins them\nngram 1=nr\n\\1-grams:\np_1 wd_1 bo_wt_1\n\\end\\ ends them\n\n"
    )
    for packed in PACKERS:
        for text in (ARPA, prose + ARPA):
            path = tmp_path / "x.arpa"
            path.write_bytes(packed(mark + text.replace("\n", end).encode()))
            model = ngram_files.load(path)
            assert model.words[3:] == ["ça\u00a0va", "oui"] and model.counts == [5, 1]
            assert model.scores(["ça\u00a0va"])[0] == pytest.approx((-0.3 - 0.5) * np.log(10), abs=1e-5)


@pytest.mark.parametrize("pack", PACKERS[1:])
@pytest.mark.parametrize("seed", range(20))
def test_damaged_packed_files_are_one_sentence(tmp_path: Path, pack, seed: int):
    rng = np.random.default_rng(seed)
    words = "".join(f"{word}\n" for word in rng.integers(0, 10**9, 300))
    whole = bytearray(pack(words.encode()))
    if seed % 2:
        del whole[int(rng.integers(12, len(whole) - 8)) :]
    else:
        whole[int(rng.integers(12, len(whole)))] ^= 0x55
    path = tmp_path / "bad.gz"
    path.write_bytes(bytes(whole))
    for read in (
        lambda: list(texts.read_texts(path)),
        lambda: ngram_files.load(path),
        lambda: hotwords.read(path),
        lambda: list(read_manifest(path)),
    ):
        with pytest.raises(InputError) as error:
            read()
        assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
