"""Our beam search beside others', one after the other on one core: `make bench-decoder`, or
python tests/bench/decoder.py [--data FOLDER] [--count N] [--synthetic N] [--beams N …].

Log-probabilities are synthetic (400 frames, a quarter of them with a symbol: mostly sure, as trained networks
are, and with noise on all symbols), and those of our shipped models for the test manifests that the recipes
prepare. Language models are word 3-grams of the manifest's training texts, or of sentences of 2000 random
words; of these the synthetic texts are made too, so that all can spell them. Weight and word bonus are those
of GRID with which a decoder itself has the fewest word errors on the first half of the samples; errors and
times are of the other half. Unknown words cost what each has them cost by default. All are asked for
pyctcdecode's own thresholds; ours also for its own. "Same or better" compares texts with pyctcdecode's, at
its weights, by the score of our search. fast-ctc-decoder has no language model; flashlight with one writes
only words of its vocabulary. Times are processor time of the search alone, with what each needs to give a
text. The last line is JSON.
"""

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from carousel.common.cli.streams import say
from carousel.common.ctc.loss import log_likelihood
from carousel.common.data.manifest import read_manifest
from carousel.common.decoding import decode_batch
from carousel.common.decoding.compiled.lexicon_tree import unknown_word
from carousel.common.decoding.constraints import UNKNOWN_COST
from carousel.common.errors import InputError
from carousel.common.language import ngram_files
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.ngram import NGrams
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.metrics import error_rates

EQUAL = 1e-6  # natural log: of two texts with one score, rounding makes either the better
ENOUGH = 1.0  # s of processor time, after which no further round is begun; the median of the rounds counts
FRAMES, WORDS, HEIGHT = 400, 20, 8.0  # words of an utterance: 98 symbols on the mean, with the spaces
LIMITS = {"symbol_threshold": -5.0, "score_threshold": 10.0}  # pyctcdecode's own
OFFSET = -10.0  # … as well, for an unknown word
GRID = [(0.5, 1.5), *((weight, bonus) for weight in (0.25, 0.5, 1.0, 2.0) for bonus in (0.0, 1.5, 3.0))]
PRIVATE = 0xE000  # symbols go to others as private code points: pyctcdecode gives some labels a meaning

SOURCES = {  # name -> domain, test and training manifest
    "an4": ("speech", "an4/test.jsonl", "an4/train.jsonl"),
    "unipen_words": ("ink", "unipen_words/test.jsonl.gz", "unipen_words/train.jsonl.gz"),
    "copiste": ("image", "htr_lines/copiste-lines/test.jsonl", "htr_lines/copiste-lines/train.jsonl"),
}

One = Callable[[np.ndarray], str]  # from (frames, symbols) natural logs to a text
Decoder = Callable[[Sequence[np.ndarray]], list[str]]  # the same of several utterances
Weights = tuple[float, float]  # of the language model's logarithms, and what a word adds


class Task(NamedTuple):
    source: str
    alphabet: Alphabet
    scores: list[np.ndarray]  # (frames, symbols) natural log, float32
    texts: list[str]
    training: list[str]  # texts of the language model


# --- what is decoded ---


def utterance(rng: np.random.Generator, written: Sequence[int], symbols: int) -> np.ndarray:
    """(frames, symbols) natural log of what is written: one frame a symbol, blanks between all of them."""
    logits = rng.normal(size=(FRAMES, symbols))
    path = np.zeros(FRAMES, dtype=int)
    places = np.sort(rng.choice(FRAMES - len(written), len(written), replace=False))
    path[places + np.arange(len(written))] = written
    logits[np.arange(FRAMES), path] += HEIGHT
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return np.asarray(log_probs, np.float32)


def synthetic(symbols: int, count: int) -> Task:
    """Sentences of random words, most of them of a few (Zipf); others, and each word, for language models."""
    rng = np.random.default_rng(symbols)
    alphabet = Alphabet(" " + "".join(chr(0x100 + k) for k in range(symbols - 2)))
    letters = np.array(alphabet.symbols[1:])
    words = ["".join(rng.choice(letters, rng.integers(2, 7))) for _ in range(2000)]
    picks = np.minimum(rng.zipf(1.3, (2000 + count, WORDS)), len(words)) - 1
    lines = [" ".join(words[k] for k in line) for line in picks.tolist()]
    scores = [utterance(rng, alphabet.encode(text), symbols) for text in lines[:count]]
    return Task("synthetic", alphabet, scores, lines[:count], [*lines[count:], *words])


def real(source: str, data: Path, count: int) -> Task | None:
    """The first `count` samples of a source's test manifest, seen by the model that ships for it."""
    domain, test, train = SOURCES[source]
    try:
        if domain == "speech":
            from carousel.asr.domain import SPEECH as shipped
            from carousel.asr.reader import read
        else:
            from carousel.hwr.domain import IMAGE as shipped
            from carousel.hwr.reader import read
        from carousel.common.model.catalogue import open_model
        from carousel.common.recogniser import log_probs

        model = open_model(None, shipped.models, (domain,))
        samples = [sample for sample, _ in zip(read_manifest(data / test), range(count), strict=False)]
        scores = log_probs(model, [read(sample, model.features) for sample in samples])
        training = [sample.text for sample in read_manifest(data / train)]
    except (InputError, OSError) as error:
        say(f"{source} is left out: {error} (the recipes prepare it; --data says where)")
        return None
    return Task(source, model.alphabet, scores, [sample.text for sample in samples], training)


# --- who decodes: each gives a Decoder or a One for a beam, or raises ImportError ---


def private(text: str, alphabet: Alphabet, keep: str = "") -> str:
    return "".join(c if c in keep else chr(PRIVATE + alphabet.encode(c)[0]) for c in text)


def public(text: str, alphabet: Alphabet) -> str:
    symbols = alphabet.symbols
    return "".join(symbols[ord(c) - PRIVATE - 1] if ord(c) >= PRIVATE else c for c in text)


def labels(alphabet: Alphabet, keep: str) -> list[str]:
    return ["", *(private(symbol, alphabet, keep) for symbol in alphabet.symbols)]


def ours(
    task: Task, beam: int, lm: NGrams | None, arpa: Path, weights: Weights, limits: dict[str, float]
) -> Decoder:
    """All utterances in one call, as our commands decode, but on one thread."""
    options: dict[str, Any] = {"decoder": "beam", "beam": beam, "threads": 1, **limits}
    if lm is not None:
        options |= {"lm": lm, "lm_weight": weights[0], "bonus": weights[1]}
    return lambda scores: [found[0].text for found in decode_batch(scores, task.alphabet, **options)]


def ours_single(task: Task, beam: int, lm: NGrams | None, arpa: Path, weights: Weights) -> One:
    search = ours(task, beam, lm, arpa, weights, LIMITS)
    return lambda scores: search([scores])[0]


def one_by_one(make: Callable[..., One]) -> Callable[..., Decoder]:
    """For those that decode an utterance a call; a batch of pyctcdecode's is a loop over them too."""

    def made(task: Task, beam: int, lm: NGrams | None, arpa: Path, weights: Weights) -> Decoder:
        search = make(task, beam, lm, arpa, weights)
        return lambda scores: [search(one) for one in scores]

    return made


def pyctcdecode(task: Task, beam: int, lm: NGrams | None, arpa: Path, weights: Weights) -> One:
    import pyctcdecode
    import pyctcdecode.alphabet
    import pyctcdecode.decoder

    keep = " " if lm is not None else ""
    model = None
    if lm is not None:
        import kenlm

        words = [private(word, task.alphabet) for word in lm.words[3:]]
        model = pyctcdecode.LanguageModel(
            kenlm.Model(str(arpa)), words, alpha=weights[0], beta=weights[1], unk_score_offset=OFFSET
        )
    names = pyctcdecode.alphabet.Alphabet(labels(task.alphabet, keep), is_bpe=False)
    search = pyctcdecode.decoder.BeamSearchDecoderCTC(names, model)

    def run(scores: np.ndarray) -> str:
        found = search.decode_beams(scores, beam_width=beam)
        return public(found[0][0], task.alphabet)

    return run


def ctc_beam_decoder(task: Task, beam: int, lm: NGrams | None, arpa: Path, weights: Weights) -> One:
    from ctc_beam_decoder import BeamSearchDecoder

    keep, more = "", {}
    if lm is not None:
        words = [private(word, task.alphabet) for word in lm.words[3:]]
        more = {"kenlm_model_path": str(arpa), "unigrams": words}
        more |= {"alpha": weights[0], "beta": weights[1]}
        more["unk_score_offset"] = OFFSET
        keep = " "
    search = BeamSearchDecoder(labels(task.alphabet, keep), **more)
    return lambda scores: public(search.decode(scores, beam_width=beam), task.alphabet)


def flashlight(task: Task, beam: int, lm: NGrams | None, arpa: Path, weights: Weights) -> One:
    from flashlight.lib.text import decoder as fl

    symbols = len(task.alphabet)
    space = task.alphabet.encode(" ")[0]
    if lm is None:
        options = fl.LexiconFreeDecoderOptions(beam, symbols, 10.0, 0.0, 0.0, True, fl.CriterionType.CTC)
        model = fl.ZeroLM()
        search = fl.LexiconFreeDecoder(options, model, space, 0, [])
    else:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        known = [word for word in lm.words[3:] if not task.alphabet.unknown(word)]
        words = [private(word, task.alphabet) for word in known]
        dictionary = Dictionary([*words, "<unk>"])
        model = KenLM(str(arpa), dictionary)
        trie, start = fl.Trie(symbols, space), model.start(False)
        for number, word in enumerate(known):
            spelled = [*task.alphabet.encode(word), space]
            trie.insert(spelled, number, model.score(start, number)[1])
        trie.smear(fl.SmearingMode.MAX)
        options = fl.LexiconDecoderOptions(
            beam, symbols, 10.0, *weights, -np.inf, 0.0, True, fl.CriterionType.CTC
        )
        search = fl.LexiconDecoder(options, trie, model, space, 0, len(words), [], False)

    def run(scores: np.ndarray, owner: Any = model) -> str:  # flashlight does not keep its model alive
        scores = np.ascontiguousarray(scores, np.float32)
        found = search.decode(scores.ctypes.data, *scores.shape)
        path = np.array(found[0].tokens if found else [], int)
        kept = path[np.diff(path, prepend=-1) != 0]
        return task.alphabet.decode(kept[kept > 0].tolist())

    return run


def fast_ctc_decoder(task: Task, beam: int, lm: NGrams | None, arpa: Path, weights: Weights) -> One:
    from fast_ctc_decoder import beam_search

    if lm is not None:
        raise ImportError("it has no language model")
    names = ["-", *(chr(PRIVATE + 1 + k) for k in range(len(task.alphabet) - 1))]
    cut = min(float(np.exp(LIMITS["symbol_threshold"])), 0.99 / len(names))
    return lambda scores: public(
        beam_search(np.exp(scores), names, beam_size=beam, beam_cut_threshold=cut)[0], task.alphabet
    )


DECODERS: dict[str, Callable[..., Decoder]] = {
    "pyctcdecode": one_by_one(pyctcdecode),  # first: the others are compared with it
    "beam": partial(ours, limits=LIMITS),
    "beam, one a call": one_by_one(ours_single),
    "beam, own thresholds": partial(ours, limits={}),
    "ctc-beam-decoder": one_by_one(ctc_beam_decoder),
    "flashlight-text": one_by_one(flashlight),
    "fast-ctc-decoder": one_by_one(fast_ctc_decoder),
}


# --- comparison ---


def language_model(task: Task, path: Path) -> NGrams:
    """A word 3-gram of the words that the alphabet can write; the same as ARPA in private symbols."""
    lines = [[w for w in text.split() if not task.alphabet.unknown(w)] for text in task.training]
    model = estimate(lines, 3)
    words = [*model.words[:3], *(private(word, task.alphabet) for word in model.words[3:])]
    ngram_files.save(NGrams(**{**model.__dict__, "words": words}), path)
    return model


def squeezed(text: str) -> str:
    return " ".join(text.split())


def score(task: Task, scores: np.ndarray, text: str, lm: NGrams | None, weights: Weights) -> float:
    """ln of a text's probability over all paths, and what the language model adds in our search."""
    total = log_likelihood(scores.astype(np.float64), task.alphabet.encode(text))
    if lm is None:
        return total
    words, known = text.split(), lm.index()
    missing = sum(unknown_word(UNKNOWN_COST, len(word)) for word in words if word not in known)
    return total + weights[0] * float(lm.scores(words).sum()) + weights[1] * len(words) + missing


def word_errors(task: Task, found: Sequence[str]) -> float:
    return error_rates(zip(task.texts, map(squeezed, found), strict=True))["wer"]


def halves(task: Task) -> tuple[Task, Task]:
    middle = len(task.texts) // 2
    return (
        task._replace(scores=task.scores[:middle], texts=task.texts[:middle]),
        task._replace(scores=task.scores[middle:], texts=task.texts[middle:]),
    )


def best_weights(valid: Task, make: Callable[[Weights], Decoder]) -> Weights:
    """Those of GRID with the fewest word errors; of equal ones the first, which are pyctcdecode's own."""
    return min(GRID, key=lambda weights: word_errors(valid, make(weights)(valid.scores)))


def compare(whole: Task, beam: int, lm: NGrams | None, arpa: Path) -> Iterator[dict[str, Any]]:
    rates: dict[str, float] = {}
    reference: list[str] = []
    valid, task = halves(whole)
    for name, maker in DECODERS.items():
        make = partial(maker, task, beam, lm, arpa)
        try:
            weights = best_weights(valid, make) if lm is not None else GRID[0]
            search = make(weights)
        except ImportError as error:
            if lm is None or "no language model" not in str(error):
                say(f"{name} is left out: {error}")
            continue
        search(task.scores[:1])
        spent: list[float] = []
        while sum(spent) < ENOUGH:
            started = time.process_time()
            found = search(task.scores)
            spent.append(time.process_time() - started)
        rates[name] = len(found) / statistics.median(spent)
        report = error_rates(zip(task.texts, map(squeezed, found), strict=True))
        row: dict[str, Any] = {
            "decoder": name,
            "source": task.source,
            "symbols": len(task.alphabet),
            "beam": beam,
            "weights": weights if lm is not None else None,
            "utterances_per_s": round(rates[name], 2),
            "ratio": round(rates[name] / rates["pyctcdecode"], 2) if "pyctcdecode" in rates else None,
            "cer": round(report["cer"], 5),
            "wer": round(report["wer"], 5),
        }
        if name == "pyctcdecode":
            reference, theirs = found, weights
        elif name == "beam" and reference:
            same = make(theirs)(task.scores)
            row["same_or_better"] = round(same_or_better(task, same, reference, lm, theirs), 4)
        yield row


def same_or_better(
    task: Task, found: Sequence[str], others: Sequence[str], lm: NGrams | None, weights: Weights
) -> float:
    """In how many utterances a text is the same as another decoder's, or of a score at least as high."""
    good = 0
    for scores, text, other in zip(task.scores, found, others, strict=True):
        same = squeezed(text) == squeezed(other)
        ours_, theirs = (score(task, scores, t, lm, weights) for t in (text, other))
        good += same or ours_ > theirs - EQUAL
    return good / len(found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Our beam search beside others'.")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the prepared manifests")
    parser.add_argument("--count", type=int, default=100, help="samples of each corpus")
    parser.add_argument("--synthetic", type=int, default=48, help="synthetic utterances")
    parser.add_argument("--beams", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--sources", nargs="+", default=["synthetic", *SOURCES])
    return parser.parse_args()


def told(weights: Weights | None) -> str:
    return "no" if weights is None else f"{weights[0]:g}, {weights[1]:g}"


def main() -> None:
    args = arguments()
    tasks = [synthetic(symbols, args.synthetic) for symbols in (32, 100) if "synthetic" in args.sources]
    tasks += [task for name in SOURCES if name in args.sources if (task := real(name, args.data, args.count))]
    languages = [False, True] if importlib.util.find_spec("kenlm") else [False]
    if len(languages) == 1:
        say("kenlm is not installed, so language models are left out: pip install kenlm")
    rows = []
    print(
        f"{'source':13} {'symbols':>7} {'beam':>4} {'lm':>9}  {'decoder':20} {'utterances/s':>12} "
        f"{'× pyctcdecode':>13} {'CER':>7} {'WER':>7}  same or better"
    )
    for task in tasks:
        with tempfile.TemporaryDirectory() as folder:
            arpa = Path(folder) / "words.arpa"
            model = language_model(task, arpa)
            for beam in args.beams:
                for lm in languages:
                    for row in compare(task, beam, model if lm else None, arpa):
                        rows.append(row)
                        agree = f"{row['same_or_better']:.1%}" if "same_or_better" in row else ""
                        print(
                            f"{row['source']:13} {row['symbols']:7} {beam:4} {told(row['weights']):>9}  "
                            f"{row['decoder']:20} {row['utterances_per_s']:12.1f} {row['ratio'] or 0:13.1f} "
                            f"{row['cer']:7.2%} {row['wer']:7.2%}  {agree}",
                            flush=True,
                        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
