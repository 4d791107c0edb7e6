"""What a training from another model adds: a share of that model's data, and a schedule by the clock."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from carousel.common.data.manifest import Sample
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet
from carousel.common.train.data import Corpus
from carousel.common.train.keep import KEEP, drawn_samples, kept_samples
from carousel.common.train.start import choose_alphabet
from carousel.common.train.training import Training
from tests.common import toy


def test_a_share_of_each_epoch_is_of_what_the_model_knew(tmp_path: Path):
    toy.make_manifest(tmp_path / "old.jsonl", 90, 5)
    data = {"keep": str(tmp_path / "old.jsonl"), "keep_share": 0.25}
    kept = kept_samples({"data": data}, 30, seed=1)
    assert len(kept) == 90 and all(KEEP in sample.extra for sample in kept)
    own = [Sample(text="a", where=str(k)) for k in range(30)]
    corpus = Corpus([*own, *kept], [], [], lambda sample, rng: sample)  # type: ignore[arg-type, return-value]
    epochs = [drawn_samples(corpus, data, 1, epoch) for epoch in range(12)]
    for drawn in epochs:
        assert drawn[:30] == list(range(30)) and len(set(drawn)) == len(drawn) == 40
    assert epochs[0] != epochs[1] and drawn_samples(corpus, data, 1, 0) == epochs[0]
    assert len(set().union(*epochs)) > 80, "others in other epochs"
    assert kept_samples({"data": {"keep": None, "keep_share": 0.25}}, 30, seed=1) == []


@pytest.mark.parametrize(
    ("seconds", "units", "by", "share"),
    [(30, 1, "minutes", 0.5), (0, 2, "minutes", 0.2), (90, 1, "minutes", 1.0), (30, 1, "epochs", 0.1)],
)
def test_the_schedule_goes_by_the_minutes_or_the_epochs_where_these_are_done_first(
    seconds: float, units: float, by: str, share: float
):
    training = Training.__new__(Training)
    training.unit, training.state = "epoch", {"seconds": seconds}
    training.trainer = {"epochs": 10, "minutes": 1, "schedule_by": by}
    training.fabric = SimpleNamespace(broadcast=lambda value: value)
    assert training._schedule(units) == pytest.approx(share)
    assert training._schedule_is_over() == (by == "minutes" and seconds >= 60)


def test_alphabets_of_a_model_and_of_texts():
    model = Alphabet("xab")
    known = {
        given: choose_alphabet(given, ["bc"], model, False).symbols for given in ("union", "new", "fixed")
    }
    assert known == {"union": tuple("xabc"), "new": ("b", "c"), "fixed": tuple("xab")}
    assert choose_alphabet(["c", "b"], ["bc"], model, False).symbols == ("c", "b")
    with pytest.raises(InputError, match="give it as init=MODEL"):
        choose_alphabet("fixed", ["bc"], None, False)
