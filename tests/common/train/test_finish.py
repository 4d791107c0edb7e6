"""What is done after a training, without one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carousel.common.decoding import decode
from carousel.common.language import ngram_files
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.ngram import tokens
from carousel.common.model import file as model_file
from carousel.common.train import finish
from tests.tiny import tiny_model


@pytest.mark.parametrize(("texts", "kept"), [(["bad cab", "a bed"], True), (["dddd ffff"], False)])
def test_the_language_model_of_the_start_is_kept_where_it_helps(tmp_path: Path, texts, kept: bool) -> None:
    """Networks that are nearly sure of letters, of which one of each text is a wrong one by a hair."""
    base = tiny_model(tmp_path / "base.safetensors", "speech")
    found = estimate([tokens(text, "characters") for text in texts], 3)
    ngram_files.save(replace(found, unit="characters"), tmp_path / "base.lm.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    path = tiny_model(run / "best.safetensors", "speech")
    model = model_file.load(path)
    references = ["bad cab", "a bed"] * 10
    scores = []
    for text in references:
        target = model.alphabet.encode(text)
        probable = np.full((2 * len(target), len(model.alphabet)), 1e-4)
        probable[::2, 0] = 1
        probable[2 * np.arange(len(target)) + 1, target] = 1
        probable[3, target[1]], probable[3, model.alphabet.encode("h")[0]] = 0.49, 0.51
        scores.append(np.log(probable / probable.sum(axis=1, keepdims=True)).astype(np.float32))
    free = [(text, decode(one, model.alphabet)[0]) for text, one in zip(references, scores, strict=True)]
    assert all("h" in hypothesis.text for _, hypothesis in free)
    options, pairs = finish._with_language_model(path, model, {"init": str(base)}, references, scores, free)
    assert (run / "best.lm.safetensors").is_file() == bool(options) == kept
    assert ([hypothesis.text for _, hypothesis in pairs] == references) == kept
    assert finish._with_language_model(path, model, {"init": None}, references, scores, free) == ({}, free)
