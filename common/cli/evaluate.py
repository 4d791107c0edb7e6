"""`evaluate`: a model on manifests, with the rates of common.text.metrics, for all samples and for groups."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common import calibration
from carousel.common.calibration import Calibration
from carousel.common.cli.failures import Failures
from carousel.common.cli.runner import check_picture, decoding, run, write_whole
from carousel.common.cli.streams import printable, say
from carousel.common.data.manifest import Sample, read_manifest
from carousel.common.decoding import Hypothesis, decode, rescoring
from carousel.common.decoding.rescoring import Rescorer, open_rescorer
from carousel.common.errors import InputError, UsageError
from carousel.common.model import file as model_file
from carousel.common.model import onnx_run as onnx_file
from carousel.common.model.file import Model
from carousel.common.recogniser import log_probs, recognise, widened
from carousel.common.recogniser import options as with_defaults
from carousel.common.text.alphabet import name_symbols
from carousel.common.text.metrics import Report, edits, error_rates, without

NONE = "none"  # --session none: nothing is remembered
NOT_GIVEN = "(not given)"  # the group of samples without the key that --by asks for


@dataclass(frozen=True, slots=True)
class Item:
    """A sample and what was read of it."""

    sample: Sample
    hypothesis: Hypothesis

    @property
    def text(self) -> str:
        return self.hypothesis.text.strip()


def evaluate(
    args: argparse.Namespace,
    choose_model: Callable[[Sample], Model],
    read: Callable[[Sample, Mapping[str, Any]], np.ndarray],
) -> int:
    """The command. choose_model: by the first sample; read(sample, feature settings): its features."""
    check_output(args)
    failures = Failures()
    started = time.perf_counter()
    samples = [sample for path in args.manifests for sample in read_manifest(path)]
    if not samples:
        raise InputError(f"{args.manifests[0]}: there is no sample in it, so there is nothing to evaluate")
    for key in args.by or ():
        check_key(samples, key)
    model = choose_model(samples[0])
    own = model.calibration
    if args.calibrate:
        _keeper(model)
        model.card.pop("confidence", None)  # what is fitted takes its place
    if args.session not in (None, NONE):
        check_key(samples, args.session, "--session")
    rescorer = open_rescorer(args.rescore, args.rescore_weight, args.rescore_bonus)
    asked = decoding(args, model)
    if args.tune:
        more, rescorer = _tuned(samples, model, read, args, asked, rescorer)
        asked |= more
    items = read_samples(
        _progress(samples), model, read, failures, args.batch_frames, rescorer, args.session, **asked
    )
    if not items:
        raise InputError("no sample could be read, so there are no rates")
    _warn_of_unknown(items, model, args.ignore)
    if args.calibrate:
        items = _calibrated(items, model, own)
    sure = calibration.outcomes((item.sample.text, item.hypothesis) for item in items)
    report = {
        "model": model.card.get("name"),
        "manifests": [str(path) for path in args.manifests],
        "ignored": list(args.ignore),
        **rates(items, args.ignore),
        "calibration": None if args.ignore else calibration.summary(sure),  # which is of each letter
        "seconds": round(time.perf_counter() - started, 3),
        "failed": failures.count,
    }
    if args.by:
        report["by"] = {key: rates_by(items, key, args.ignore) for key in args.by}
    print(json.dumps(report, ensure_ascii=False) if args.json else table(report))
    if args.output:
        write_whole(args.output, hypotheses(items, args.output.suffix, args.ignore))
    if args.reliability:
        from carousel.common.plots import draw_reliability

        draw_reliability(sure, args.reliability, title=str(model.card.get("name")))
    return failures.status


def _keeper(model: Model) -> Path:
    """The file that keeps a calibration. Raises UsageError for a model of another kind."""
    if model.path is None or model.path.suffix == onnx_file.SUFFIX:
        raise UsageError(
            f"--calibrate keeps what it finds in a .safetensors, and {model.path} is none; calibrate the "
            "model that it came from and export it again"
        )
    return model.path


def _calibrated(items: list[Item], model: Model, own: Calibration) -> list[Item]:
    """Fits a calibration on what was read, keeps it in the model's file if it is better than the model's own,
    and applies the one that is kept."""
    path = _keeper(model)
    pairs = [(item.sample.text, item.hypothesis) for item in items]
    found = calibration.fit(pairs)
    if refused := _no_better(pairs, own):
        say(f"confidences are left as they were: {refused}")
        return [replace(item, hypothesis=item.hypothesis.calibrated(own)) for item in items]
    before, after = (
        calibration.summary(calibration.outcomes((text, read.calibrated(maps)) for text, read in pairs))
        for maps in (own, found)
    )
    for level, numbers in found.as_json().items():
        said = f"temperature {numbers['temperature']:.3f}, shift {numbers['shift']:+.3f}"
        if numbers == {"temperature": 1.0, "shift": 0.0}:
            said = f"without a map: fewer than {calibration.LEAST} right or wrong ones"
        errors = f"{before[level]['ece']:.2%} → {after[level]['ece']:.2%}"
        say(f"{level}: {said}; expected calibration error {errors}")
    model_file.note(path, confidence=found.as_json())
    say(f"kept in {path}")
    return [replace(item, hypothesis=item.hypothesis.calibrated(found)) for item in items]


def _no_better(pairs: Sequence[tuple[str, Hypothesis]], own: Calibration) -> str | None:
    """Why a fit on these pairs is not to be kept, or None."""
    if len(pairs) < calibration.TEXTS:
        return f"{len(pairs)} samples are too few to fit them on, at least {calibration.TEXTS} are needed"
    gain, error = calibration.gain(pairs, own)
    if gain > error:
        return None
    return f"on samples that it was not fitted on, a fit is no better ({gain:+.4f} ± {error:.4f} nats each)"


def _tuned(
    samples: Sequence[Sample],
    model: Model,
    read: Callable[[Sample, Mapping[str, Any]], np.ndarray],
    args: argparse.Namespace,
    options: dict[str, Any],
    rescorer: Rescorer | None,
) -> tuple[dict[str, float], Rescorer | None]:
    """What was found for the first pass; if there is a second, that with what was found for it instead."""
    from carousel.common.decoding.tuning import tune

    pairs: list[tuple[Sample, np.ndarray]] = []
    run(
        _progress(samples),
        read=lambda sample: read(sample, model.features),
        work=lambda arrays: log_probs(model, arrays, args.batch_frames),
        emit=lambda sample, scores: pairs.append((sample, scores)),
        failures=Failures(),  # the evaluation that follows names them
        name=lambda sample: sample.where,
        weigh=len,
        budget=4 * args.batch_frames,
    )
    if not pairs:
        raise InputError("no sample could be read, so there is nothing to tune on")
    texts = [sample.text for sample, _ in pairs]
    if rescorer is None:
        return tune([scores for _, scores in pairs], texts, model.alphabet, options), None
    nbests = [decode(scores, model.alphabet, **widened(with_defaults(model, options))) for _, scores in pairs]
    sessions = [session_of(sample, args.session) for sample, _ in pairs]
    return {}, rescoring.tune(rescorer, args.rescore, nbests, texts, sessions, say)


def read_samples(
    samples: Iterable[Sample],
    model: Model,
    read: Callable[[Sample, Mapping[str, Any]], np.ndarray],
    failures: Failures,
    batch_frames: int,
    rescorer: Rescorer | None = None,
    session: str | None = None,
    **options: Any,
) -> list[Item]:
    """Each sample that can be read, with its best hypothesis, in their order; the others go to `failures`.

    session: the key of samples over which the rescorer remembers, "none", or None for speaker and writer.
    """
    items: list[Item] = []

    def work(sources: list[tuple[np.ndarray, str | None]]) -> list[list[Hypothesis]]:
        arrays, sessions = zip(*sources, strict=True)
        return recognise(model, arrays, batch_frames, rescorer, sessions, **options)

    run(
        samples,
        read=lambda sample: (read(sample, model.features), session_of(sample, session)),
        work=work,
        emit=lambda sample, found: items.append(Item(sample, found[0])),
        failures=failures,
        name=lambda sample: sample.where,
        weigh=lambda source: len(source[0]),
        budget=4 * batch_frames,  # several batches, so that they can be sorted by length
    )
    return items


def session_of(sample: Sample, key: str | None) -> str | None:
    """What a sample belongs to; None where nobody knows."""
    value = value_of(sample, key or "group")
    return None if key == NONE or value == NOT_GIVEN else value


def rates(items: Sequence[Item], ignored: Collection[str] = ()) -> Report:
    return error_rates(((item.sample.text, item.text) for item in items), ignored=ignored)


def rates_by(items: Iterable[Item], key: str, ignored: Collection[str] = ()) -> dict[str, Report]:
    """Rates apart for each value of a key of the manifest; speaker and writer are such keys too."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[value_of(item.sample, key)].append(item)
    return {value: rates(groups[value], ignored) for value in sorted(groups)}


def check_key(samples: Iterable[Sample], key: str, option: str = "--by") -> None:
    """A key that no sample has is told before the work, not after."""
    if all(value_of(sample, key) == NOT_GIVEN for sample in samples):
        raise UsageError(
            f"{option} {key}: no sample has this key; its values stand in the lines of the manifest"
        )


def value_of(sample: Sample, key: str) -> str:
    value = sample.group if key in ("speaker", "writer", "group") else sample.extra.get(key)
    if value is None:
        return NOT_GIVEN
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _progress(samples: Sequence[Sample]) -> Iterator[Sample]:
    """A count of samples on stderr while it is a terminal."""
    if not sys.stderr.isatty():
        yield from samples
        return
    from tqdm import tqdm

    yield from tqdm(samples, unit=" samples", leave=False)


def _warn_of_unknown(items: Sequence[Item], model: Model, ignored: Collection[str]) -> None:
    """References with characters that the model cannot write count as errors, never as less text; say so."""
    lacks = model.alphabet.unknown
    told, caseless = rates(items, ignored), rates(items, [*ignored, "case"])
    of_case = 2 * caseless["cer"] < told["cer"]
    counted = [kind for kind in ignored if kind != "case"]
    unknown = [lacks(without(item.sample.text, counted)) for item in items]
    if of_case or "case" in ignored:  # letters that it writes in the other case are none to be named
        unknown = [{c for c in found if lacks(c.swapcase())} for found in unknown]
    if any(unknown):
        named = name_symbols(set().union(*unknown))
        say(f"note: the model cannot write {named}: errors in {sum(map(bool, unknown))} of the references")
    if of_case:
        say(
            "note: most of the errors are of case alone: without them (--ignore case) "
            f"{caseless['cer']:.2%} of the characters and {caseless['wer']:.2%} of the words are wrong"
        )


def check_output(args: argparse.Namespace) -> None:
    """What cannot be written, or must not be, is told before the work, not after."""
    path = args.output
    if args.ignore and (strict := [o for o in ("calibrate", "reliability", "tune") if getattr(args, o)]):
        raise UsageError(f"--{strict[0]} goes by what is right to the letter; leave out --ignore")
    if args.tune and args.lm is None and args.rescore is None:
        raise UsageError("--tune finds how much a language model counts; give one with --lm or --rescore")
    if args.tune and args.rescore is None and args.lm.suffix != ".safetensors":
        raise UsageError(
            f"--tune keeps what it finds in the language model's file, and {args.lm} is no .safetensors"
        )
    if args.calibrate and args.model is None:
        raise UsageError(
            "--calibrate changes the file of the model: name yours with --model, or one that ships if it is "
            "to be changed for all who use this installation"
        )
    if args.reliability:
        check_picture("reliability", args.reliability)
    if path is None:
        return
    if path.suffix not in (".jsonl", ".tsv"):
        raise UsageError(f"--output {path}: hypotheses are written as FILE.jsonl or FILE.tsv")
    if path.is_dir():
        raise UsageError(f"--output {path}: this is a folder; give the name of a file")
    if any(manifest.exists() and path.exists() and path.samefile(manifest) for manifest in args.manifests):
        raise UsageError(f"--output {path}: this is the manifest itself; give another name")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}; make it first")


def hypotheses(items: Iterable[Item], suffix: str, ignored: Collection[str] = ()) -> str:
    """One line an item: as JSON, or as tab-separated columns below their names."""
    rows = [_row(item, ignored) for item in items]
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    lines = ["\t".join(rows[0])] if rows else []
    lines += ["\t".join(" ".join(str(value).split()) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def _row(item: Item, ignored: Collection[str]) -> dict[str, Any]:
    confidence = item.hypothesis.confidence
    said, read = (without(text, ignored).strip() for text in (item.sample.text, item.text))
    return {
        "sample": item.sample.where,
        "file": str(item.sample.source or ""),
        "reference": item.sample.text,
        "hypothesis": item.text,
        "char_errors": edits(said, read).errors,
        "word_errors": edits(said.split(), read.split()).errors,
        "confidence": None if confidence is None else round(confidence, 4),
        "score": round(item.hypothesis.score, 4),
    }


def table(report: Mapping[str, Any]) -> str:
    """The report for people: a line for the characters and one for the words, of all and of each group."""
    failed = f", {report['failed']} failed" if report["failed"] else ""
    ignored = f", ignoring {' and '.join(report['ignored'])}" if report.get("ignored") else ""
    model = printable(str(report["model"]))
    lines = [f"{model}: {report['items']} items{failed}, {report['seconds']:.1f} s{ignored}", ""]
    cells = [("", "errors", "95 % interval", "of", "subst.", "ins.", "del."), *_lines("all", report)]
    for key, groups in report.get("by", {}).items():
        for value, group in groups.items():
            cells += _lines(printable(f"{key}={value}"), group)
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for name, *numbers in cells:
        lines.append(
            "  ".join(
                [name.ljust(widths[0]), *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))]
            )
        )
    return "\n".join(lines)


def _lines(name: str, report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, rate in (("chars", "cer"), ("words", "wer")):
        counts = report[kind]
        low, high = report[f"{rate}_interval"]
        numbers = (str(counts[key]) for key in ("total", "substitutions", "insertions", "deletions"))
        yield (f"{name} {kind}", f"{report[rate]:.2%}", f"{low:.2%} – {high:.2%}", *numbers)
