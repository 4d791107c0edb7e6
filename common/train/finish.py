"""What is done after a training: the list of a closed vocabulary, the report, card, how to go on."""

import logging
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from carousel.common import calibration
from carousel.common.data.manifest import Sample, read_manifest
from carousel.common.decoding import Hypothesis, decode_batch
from carousel.common.domain import Work
from carousel.common.errors import InputError
from carousel.common.files import atomic_text
from carousel.common.model import file as model_file
from carousel.common.model.names import LANGUAGE, language_model
from carousel.common.recogniser import log_probs, recognise
from carousel.common.report.measures import row
from carousel.common.report.page import about, shower, write_report
from carousel.common.text.lines import Listed
from carousel.common.text.metrics import Report, edits, error_rates
from carousel.common.text.written import reference
from carousel.common.train.data import Corpus, Reader, load_samples
from carousel.common.train.own.vocabulary import lists
from carousel.common.train.runs import BEST, CURVES, OWN

log = logging.getLogger(__name__)

REPORT = "report.html"
USE = {"speech": "asr transcribe", "image": "hwr recognise", "ink": "hwr recognise"}

Pairs = list[tuple[str, Hypothesis]]  # reference, and what was read


def finish(config: Mapping[str, Any], work: Work, folder: Path, valid: Corpus) -> None:
    """Of the best model of a run: chooses a list (setting vocabulary); writes report.html and model.md."""
    path = folder / BEST
    model = model_file.load(path)
    scores = log_probs(model, [valid.read(sample, None) for sample in valid.samples])
    references = [sample.text for sample in valid.samples]
    pairs = _read(references, scores, model, {})
    options: dict[str, Any] = {}
    if config["vocabulary"] == "auto":
        free = pairs
        pairs = _listed(path, model, config, references, scores, free)
        if pairs is free:
            options, pairs = _with_language_model(path, model, config, references, scores, free)
    read, found = {"valid": pairs}, {"valid": valid.samples}
    test = folder / OWN / "test.jsonl"
    if config["data"]["test"] == str(test):  # split off by us, and so for us to look at
        found["test"], read["test"] = _test(test, path, config, work.read, options)
    rates = {name: _rates(pairs) for name, pairs in read.items()}
    for name, one in rates.items():
        low, high = one["cer_interval"]
        log.info(
            "%s: %d samples, CER %.2f %% [%.1f, %.1f], WER %.2f %%, all right %.1f %%", name, one["items"],
            100 * one["cer"], 100 * low, 100 * high, 100 * one["wer"], 100 * one["right"],
        )  # fmt: skip
    write_card(folder, path, config, rates)
    write_page(folder, config["name"], name, found[name], read[name], work)
    log.info("errors, worst samples and curves: %s", folder / REPORT)
    log.info("use it: %s FILE --model %s", USE[model.domain], shlex.quote(str(folder)))


def _read(
    references: Sequence[str], scores: Sequence[Any], model: model_file.Model, options: Mapping[str, Any]
) -> Pairs:
    found = decode_batch(scores, model.alphabet, **options)
    return [(text, nbest[0]) for text, nbest in zip(references, found, strict=True)]


def _listed(
    path: Path,
    model: model_file.Model,
    config: Mapping[str, Any],
    references: Sequence[str],
    scores: Sequence[Any],
    free: Pairs,
) -> Pairs:
    """Keeps the list in the model with which valid has the fewest errors, no more than without one."""
    texts = [sample.text for sample in load_samples(config["data"]["train"], config.get("text"))]
    best, kept = (_errors(free), 1), free
    chosen: dict[str, Any] = {}
    for rank, (option, entries) in enumerate(lists(texts, model.alphabet).items()):
        pairs = _read(references, scores, model, {"decoder": "beam", option: Listed(entries)})
        log.info(
            "%d %s that repeat: %d character errors on valid with the list, %d without",
            len(entries), "texts" if option == "grammar" else "words", _errors(pairs), _errors(free),
        )  # fmt: skip
        if (_errors(pairs), 0) < best or (chosen and (_errors(pairs), rank) < best):
            best, kept, chosen = (_errors(pairs), rank), pairs, {"decoder": "beam", option: entries}
    if chosen:
        card = {"confidence": calibration.fit(kept).as_json()}
        model_file.note(path, decoder=chosen, **card)
        option = next(key for key in chosen if key != "decoder")
        log.info("the model keeps the list and writes nothing else; --%s none does without it", option)
    return kept


def _with_language_model(
    path: Path,
    model: model_file.Model,
    config: Mapping[str, Any],
    references: Sequence[str],
    scores: Sequence[Any],
    free: Pairs,
) -> tuple[dict[str, Any], Pairs]:
    """Puts the language model of the model of `init` beside this one, if valid has fewer errors with it.

    Returns the options of decoding, and what they read."""
    beside = language_model(Path(config["init"])) if config["init"] else None
    if beside is None:
        return {}, free
    options = {"decoder": "beam", "lm": beside}
    pairs = _read(references, scores, model, options)
    log.info(
        "%s: %d character errors on valid with it, %d without", beside.name, _errors(pairs), _errors(free)
    )
    if _errors(pairs) >= _errors(free):
        return {}, free
    shutil.copyfile(beside, path.with_suffix(LANGUAGE))
    model_file.note(path, confidence=calibration.fit(pairs).as_json())
    log.info("it is kept beside the model, which is read with it; --lm none does without it")
    return options, pairs


def _errors(pairs: Pairs) -> int:
    return sum(edits(reference, hypothesis.text).errors for reference, hypothesis in pairs)


def _test(
    test: Path, path: Path, config: Mapping[str, Any], read: Reader, options: Mapping[str, Any]
) -> tuple[list[Sample], Pairs]:
    """The test part, read by the model as it is used."""
    model = model_file.load(path)
    arrays, references, samples = [], [], []
    for sample in read_manifest(test):
        try:
            arrays.append(read(sample, model.features))
        except InputError as error:
            log.warning("test: left out %s (%s)", sample.where, error)
            continue
        references.append(reference(sample.text, config.get("text") or {}))
        samples.append(sample)
    found = recognise(model, arrays, **options)
    return samples, [(text, nbest[0]) for text, nbest in zip(references, found, strict=True)]


def _rates(pairs: Pairs) -> Any:
    rates: Report = error_rates((reference, hypothesis.text) for reference, hypothesis in pairs)
    right = sum(reference == hypothesis.text for reference, hypothesis in pairs)
    return {**rates, "right": right / max(len(pairs), 1)}


def write_page(
    folder: Path, name: str, part: str, samples: Sequence[Sample], pairs: Pairs, work: Work
) -> None:
    """The report of what was read of one part (valid or test), with the curves of the run."""
    rows = [row(replace(one, text=text), read) for one, (text, read) in zip(samples, pairs, strict=True)]
    curves = folder / CURVES
    drawn = curves.is_file()
    pictures = [("loss and error rates, epoch by epoch", ("image/png", curves.read_bytes()))] if drawn else []
    show = shower(samples, rows, work)
    facts = about(str(folder), [part])
    write_report(folder / REPORT, f"{name}: {part}", facts, rows, show, pictures)


def write_card(folder: Path, path: Path, config: Mapping[str, Any], rates: Mapping[str, Any]) -> None:
    """The card as text (model.md, as the models that ship have it), and what is new of it in the model."""
    results = {
        f"{config['name']} {name}": {
            "cer": f"{100 * found['cer']:.1f} %",
            "wer": f"{100 * found['wer']:.1f} %",
        }
        for name, found in rates.items()
    }
    card = model_file.read_header(path)["card"]
    start = f", from {Path(config['init']).stem}" if config["init"] else ""
    card |= {
        "description": card.get("description") or f"trained on {config['name']}{start}",
        "licence": card.get("licence") or "not said; that of your data",
        "data": card.get("data") or str(config["data"]["train"]),
        "results": card.get("results") or results,
    }
    model_file.note(path, **{key: card[key] for key in ("description", "licence", "data", "results")})
    shown = {key: value for key, value in card.items() if key not in ("confidence", "name", "valid")}
    with atomic_text(folder / "model.md") as file:
        file.write(f"---\n{yaml.safe_dump(shown, allow_unicode=True, sort_keys=False)}---\n")
        file.write(f"# {config['name']}\n\nTrained {datetime.now(UTC):%Y-%m-%d}{start}. ")
        file.write(f"`{USE[config['domain']]} FILE --model {folder.name}`\n")
