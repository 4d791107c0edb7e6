"""Settings by the amount of data."""

from itertools import pairwise

import pytest

from carousel.common.settings.field import check, defaults
from carousel.common.settings.training import GROUPS
from carousel.common.text.alphabet import Alphabet
from carousel.common.train.own.base_model import known
from carousel.common.train.own.plan import NO_END, TABLES, settings, told
from carousel.common.train.own.vocabulary import lists


@pytest.mark.parametrize("domain", TABLES)
def test_more_data_gets_more_weights_fewer_epochs_and_larger_batches(domain: str):
    for less, more in pairwise(TABLES[domain]):
        assert less.most < more.most and less.minutes <= more.minutes and less.max_frames <= more.max_frames
        assert less.hidden * less.layers <= more.hidden * more.layers and less.dropout >= more.dropout
        assert all(a >= b for a, b in zip(less.epochs, more.epochs, strict=True))
    for row in TABLES[domain]:
        assert row.rate[0] < row.rate[1], "from a model the rate is lower"


@pytest.mark.parametrize("domain", TABLES)
@pytest.mark.parametrize("tuned", [False, True])
def test_all_of_it_is_known_settings(domain: str, tuned: bool):
    for row in TABLES[domain]:
        found = settings(domain, row.most, 5, tuned, timed=False)
        for group in ("network", "augment", "optimizer"):
            choices = dict(e for entry in found["defaults"][1:-1] for e in entry.items())
            name = choices.get(f"override /{group}", "adamw")
            check(GROUPS[group][name], defaults(GROUPS[group][name]) | _wide(group, name, found), group)
        check(GROUPS["trainer"]["default"], found["trainer"], "trainer", partial=True)
        assert str(row.hidden) in told(domain, row.most, tuned) or tuned
    assert settings(domain, 1, 5, tuned, timed=True)["trainer"]["epochs"] == NO_END


def _wide(group: str, name: str, found: dict) -> dict:
    """The settings of a group over its defaults, blocks key by key as Hydra merges them."""
    base = defaults(GROUPS[group][name])
    return {k: base[k] | v if isinstance(v, dict) else v for k, v in found[group].items()}


def test_few_voices_are_varied_more_and_one_less():
    one, few, many = (settings("speech", 1, n, True, False)["augment"] for n in (1, 5, 50))
    assert one["vtlp"]["probability"] < 0.8 < few["vtlp"]["probability"] and many == {}


def test_a_closed_vocabulary_is_noticed():
    letters = Alphabet(" abcdefghijklmnopqrstuvwxyz")
    words = ["left", "right", "stop"] * 10
    assert lists(words, letters) == {"grammar": ["left", "right", "stop"]}
    spoken = [f"go {a} {b}" for a in words[:3] for b in words[:3]] * 2
    assert lists(spoken, letters) == {"lexicon": ["go", "left", "right", "stop"]}
    assert lists([f"text {k} of many" for k in range(2000)], letters) == {}
    assert lists(["Déjà"] * 10 + ["vu"] * 10, letters) == {"grammar": ["vu"]}, "what cannot be written"


def test_what_a_model_knows_of_texts():
    capitals = Alphabet(" ABCDE")
    assert known(["bad é"], capitals) == pytest.approx(1 / 5)
    assert known(["bad é"], capitals, like=True) == 1
    assert known(["абв"], capitals, like=True) == 0
