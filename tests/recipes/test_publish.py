from pathlib import Path

import numpy as np
import pytest

from carousel.common.cli.prepare import run
from carousel.common.model import file as model_file
from carousel.recipes import publish
from tests.tiny import tiny_model

CARD = """---
description: a test
licence: CC0
data: none
results: {toy: {cer: 0.5}}
default: true
---
# A model
"""


def test_the_card_goes_into_the_model_and_the_model_reads_the_same(tmp_path: Path):
    model = tiny_model(tmp_path / "best.safetensors", "ink", training={"seed": 7})
    (tmp_path / "mine.md").write_text(CARD)
    assert run(publish, [str(model), str(tmp_path / "mine.md")]) == 0
    before, after = model_file.load(model), model_file.load(tmp_path / "mine.safetensors")
    assert after.card["name"] == "mine" and after.card["default"] is True
    assert after.card["training"] == {"seed": 7} and after.card["results"] == {"toy": {"cer": 0.5}}
    x = np.random.default_rng(0).normal(size=(30, before.size)).astype(np.float32)
    np.testing.assert_array_equal(before.log_probs([x])[0], after.log_probs([x])[0])


@pytest.mark.parametrize(("text", "said"), [("# no yaml", "lacks"), ("---\na: [\n---\n", "cannot be read")])
def test_a_card_that_says_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, text: str, said: str
):
    model = tiny_model(tmp_path / "best.safetensors", "ink")
    (tmp_path / "mine.md").write_text(text)
    assert run(publish, [str(model), str(tmp_path / "mine.md")]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "mine.safetensors").exists()
