"""Small sound files of language models, recognisers and word lists, and how each is read to the end, for
tests/mutate.py."""

import gzip
import json
import tempfile
from pathlib import Path

import numpy as np

from carousel.common.data.manifest import read_manifest
from carousel.common.decoding import decode
from carousel.common.decoding.rescoring import Rescorer
from carousel.common.errors import InputError
from carousel.common.language import lstm as language_model
from carousel.common.language import ngram_files
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.texts import read_texts
from carousel.common.model import file as model_file
from carousel.common.model.catalogue import open_model
from carousel.common.model.file import Model
from carousel.common.recogniser import recognise
from carousel.common.text.alphabet import Alphabet
from tests.tiny import tiny_model

AB = Alphabet(" ab")
TEXTS = [line.split() for line in ("a b a ab", "b a a", "ab", "a b ab a b")]
KENLM = Path(__file__).with_name("language") / "kenlm"
JSGF = """#JSGF V1.0;
grammar g;
<name> = a | b /2.5/ | ("a b" | ab) {tag};
public <s> = [<name>] (a | b)* <name>+ // end
  | <NULL> ab;
"""


def spoken() -> np.ndarray:
    """(frames, symbols) natural log of something."""
    rows = np.log(np.random.default_rng(0).dirichlet(np.ones(len(AB)), 30))
    return rows.astype(np.float32)


def ngrams() -> dict[str, bytes]:
    """n-gram models in each kind of file."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("m.arpa", "m.arpa.gz", "m.safetensors"):
            path = Path(folder) / name
            ngram_files.save(estimate(TEXTS, 3), path)
            found[name] = path.read_bytes()
    found["m.bin"] = gzip.decompress((KENLM / "3.bin.gz").read_bytes())
    return found


def read_ngrams(path: Path) -> None:
    """Loads a model and searches with it."""
    lm = ngram_files.load(path)
    try:
        found = decode(spoken(), AB, "beam", lm=lm, beam=8)[0]
    except InputError:  # such as that none of its words can be written
        return
    if not np.isfinite(found.score):
        raise ArithmeticError(f"a score of {found.score}")


def models() -> dict[str, bytes]:
    """Recognisers, as safetensors and ONNX, and an LSTM language model."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for domain in ("speech", "ink", "image"):
            path = tiny_model(folder / f"{domain}.safetensors", domain, licence="none")
            found[path.name] = path.read_bytes()
        settings = {"embedding": 3, "hidden": 4, "layers": 1, "cell": "lstm", "dropout": 0.0}
        tokens = (language_model.UNKNOWN, language_model.END, *"ab ")
        network = language_model.LanguageNetwork(len(tokens), settings)
        language_model.LanguageModel(network, tokens, settings).save(folder / "lm.safetensors")
        found["lm.safetensors"] = (folder / "lm.safetensors").read_bytes()
        try:
            from carousel.common.model.onnx_export import export

            export(model_file.load(folder / "ink.safetensors"), folder / "m.onnx")
            found["m.onnx"] = (folder / "m.onnx").read_bytes()
        except ImportError:
            pass
    return found


def read_model(path: Path) -> None:
    """Loads a model and reads something with it."""
    if path.name.endswith("lm.safetensors"):
        from carousel.common.decoding import Hypothesis, Symbol

        lm = language_model.load(path)
        texts = [Hypothesis((Symbol(c, 0, 1, 0.5),), -1.0) for c in "abz"]
        scores = [h.score for h in Rescorer(lm).choose([texts, texts], ["x", "x"])[0]]
        if not np.isfinite(scores).all():
            raise ArithmeticError(f"scores of {scores}")
        return
    from carousel.asr import features as asr_features
    from carousel.hwr import features as hwr_features

    domains, size = (("ink", "image"), hwr_features.size)
    if "speech" in path.name:
        domains, size = ("speech",), asr_features.size
    model = open_model(str(path), path.parent, domains, "cpu", size)
    recognise(model, [features(model)])


def features(model: Model) -> np.ndarray:
    """Of half a second of noise, a small picture or a stroke, whatever the model is for."""
    rng = np.random.default_rng(0)
    if model.domain == "speech":
        from carousel.asr.features import extract, frame_stride

        rate = model.features["sample_rate"]
        array = extract(rng.normal(0, 0.1, rate // 2).astype(np.float32), model.features)
        frame_stride(model.features)
        return array
    from carousel.hwr.features import extract as extract_line

    picture = rng.integers(0, 255, (30, 60), dtype=np.uint8)
    stroke = rng.normal(0, 9, (30, 2)).cumsum(0).astype(np.float32)
    return extract_line(picture if model.domain == "image" else [stroke], model.features)[0]


def words() -> dict[str, bytes]:
    """Lists of words and sentences, grammars, manifests and texts."""
    row = {"text": "ab", "strokes": [[0, 0, 1, 1, 2.5, 3]], "writer": "w", "duration": 1.5}
    manifest = (json.dumps(row) + "\n").encode() * 3
    return {
        "words.lexicon": "a\nb\nab\né\n".encode(),
        "words.hotwords": b"a\nb\t2.5\na b\t-1 # why\n",
        "words.jsgf": JSGF.encode(),
        "list.jsgf": b"a b\nab # so\n\nb\n" * 3,
        "rows.jsonl": manifest,
        "rows.jsonl.gz": gzip.compress(manifest),
        "text.txt": "a ab\nb é\n".encode() * 9,
        "text.txt.gz": gzip.compress("a ab\nb é\n".encode() * 9),
    }


def read_words(path: Path) -> None:
    """Reads a list by what it is for, and searches with it."""
    if ".jsonl" in path.name:
        list(read_manifest(path))
    elif ".txt" in path.name:
        list(read_texts(path))
    else:
        option = "grammar" if path.suffix == ".jsgf" else path.suffix[1:]
        options = {"hotwords": path} if option == "hotwords" else {option: path}
        decode(spoken(), AB, "beam", beam=4, **options)
