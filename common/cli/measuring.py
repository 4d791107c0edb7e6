"""A model on manifests: texts, rates, and what is fitted on them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carousel.common import calibration
from carousel.common.calibration import Calibration
from carousel.common.cli import decoding
from carousel.common.cli.data import samples_of
from carousel.common.cli.failures import Failures
from carousel.common.cli.files import write_whole
from carousel.common.cli.report import (
    NOT_GIVEN,
    Item,
    check_key,
    hypotheses,
    rates,
    rates_by,
    table,
    value_of,
    warn_of_unknown,
)  # fmt: skip
from carousel.common.cli.runner import run
from carousel.common.cli.streams import note, say
from carousel.common.data.manifest import Sample
from carousel.common.decoding import Hypothesis, decode, rescoring
from carousel.common.decoding.rescoring import Rescorer, open_rescorer
from carousel.common.domain import Work
from carousel.common.errors import InputError, UsageError
from carousel.common.model import file as model_file
from carousel.common.model import onnx_run as onnx_file
from carousel.common.model.file import Model
from carousel.common.options import NONE
from carousel.common.recogniser import log_probs, recognise, widened
from carousel.common.recogniser import options as with_defaults
from carousel.common.text.written import reference, settings_in, told

if TYPE_CHECKING:
    from carousel.common.cli.program import Opener


def evaluate(opener: Opener) -> int:
    args, failures = opener.args, opener.failures
    started = time.perf_counter()
    samples = [
        sample
        for path in args.manifests
        for sample in samples_of(path, opener.program, failures=failures, test=True)
    ]
    if not samples:
        raise InputError(f"{args.manifests[0]}: there is no sample in it, so there is nothing to evaluate")
    for key in args.by or ():
        check_key(samples, key)
    domains = opener.program.domains
    domain = next((d for d in domains if getattr(samples[0], d.key) is not None), domains[0])
    model = opener.model(domain)
    samples = _as_learned(samples, model)
    read = partial(_features, domain.work, model)
    own = model.calibration
    if args.calibrate:
        _keeper(model)
        model.card.pop("confidence", None)  # what is fitted takes its place
    if args.session not in (None, NONE):
        check_key(samples, args.session, "--session")
    rescorer = open_rescorer(args.rescore, args.rescore_weight, args.rescore_bonus)
    asked = decoding.asked(args, model)
    if args.tune:
        more, rescorer = _tuned(samples, model, read, args, asked, rescorer)
        asked |= more
    items = read_samples(
        _progress(samples), model, read, failures, args.batch_frames, rescorer, args.session, **asked
    )
    if not items:
        raise InputError("no sample could be read, so there are no rates")
    warn_of_unknown(items, model, args.ignore)
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
    if args.report:
        _write_report(items, args, model, domain.work)
    if args.reliability:
        from carousel.common.plots import draw_reliability

        draw_reliability(sure, args.reliability, title=str(model.card.get("name")))
    return failures.status


def _write_report(items: Sequence[Item], args: argparse.Namespace, model: Model, work: Work) -> None:
    from carousel.common.report.measures import row
    from carousel.common.report.page import about, shower, write_report

    rows = [row(item.sample, item.hypothesis, args.ignore) for item in items]
    name = model.card.get("name")
    facts = about(str(name), [str(path) for path in args.manifests])
    if args.ignore:
        facts["ignored"] = " and ".join(args.ignore)
    show = shower([item.sample for item in items], rows, work)
    write_report(args.report, f"{name}: report", facts, rows, show, before=args.compare)


def _as_learned(samples: Sequence[Sample], model: Model) -> list[Sample]:
    """The references in the form in which the model learned texts; that is told."""
    settings = settings_in(model.card)
    if changes := told(settings):
        note(f"the references are written as the model's texts were: {changes}")
    return [replace(sample, text=reference(sample.text, settings)) for sample in samples]


def _features(work: Work, model: Model, sample: Sample) -> np.ndarray:
    """(frames, size) of a sample, as transcription shows them to the network."""
    return work.without_rests(work.read(sample, model.features), model.features)


def _keeper(model: Model) -> Path:
    """The file that keeps a calibration. Raises UsageError for a model of another kind."""
    if model.path is None or model.path.suffix == onnx_file.SUFFIX:
        raise UsageError(
            f"--calibrate needs a .safetensors model, and {model.path} is not one; calibrate the "
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
    read: Callable[[Sample], np.ndarray],
    args: argparse.Namespace,
    options: dict[str, Any],
    rescorer: Rescorer | None,
) -> tuple[dict[str, float], Rescorer | None]:
    """What was found for the first pass; if there is a second, that with what was found for it instead."""
    from carousel.common.decoding.tuning import tune

    pairs: list[tuple[Sample, np.ndarray]] = []
    run(
        _progress(samples),
        read=read,
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
    read: Callable[[Sample], np.ndarray],
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
        read=lambda sample: (read(sample), session_of(sample, session)),
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


def _progress(samples: Sequence[Sample]) -> Iterator[Sample]:
    """A count of samples on stderr while it is a terminal."""
    if not sys.stderr.isatty():
        yield from samples
        return
    from tqdm import tqdm

    yield from tqdm(samples, unit=" samples", leave=False)
