"""What is said of settings that cannot be used; those of all our recipes can."""

from pathlib import Path
from typing import Any

import pytest

from carousel.common.errors import InputError
from carousel.common.train.recipe import ROOT, find_recipe, recipes
from carousel.common.train.settings import check, register


def composed(name: str, *overrides: str) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf, open_dict

    register()

    search = f"hydra.searchpath=[file://{ROOT / 'conf'}]"
    with initialize_config_dir(str(find_recipe(name)), version_base="1.3"):
        config = compose("recipe", [search, f"++name={name}", *overrides])
    with open_dict(config):
        config.pop("hydra", None)
    settings: Any = OmegaConf.to_container(config, resolve=True)
    return settings


@pytest.mark.parametrize("name", [name for name in recipes() if name != "language"])
def test_all_our_recipes_can_be_used(name: str):
    check(composed(name))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("network.hidden=abc", "network.hidden must be a whole number, at least 1, not abc"),
        ("network.hidden=0", "network.hidden must be at least 1, not 0"),
        ("network.hidden=true", "whole number"),
        ("network.stride=0", "network.stride must be at least 1, not 0"),
        ("network.dropout=1", "network.dropout must be at least 0 and below 1, not 1"),
        ("network.cell=time_aware", "network.cell must be lstm, peephole, gru"),
        ("network.projection=-1", "network.projection must be at least 0, not -1"),
        ("network.recurrent_dropout=1", "network.recurrent_dropout must be at least 0 and below 1, not 1"),
        ("network.zoneout=0.1", "network.zoneout must be two numbers, at least 0 and below 1 each, not 0.1"),
        ("network.zoneout=[0,1]", "below 1 each, not [0, 1]"),
        ("network.front=conv1d", "would do nothing"),
        ("trainer.epochs=abc", "trainer.epochs must be a whole number, at least 1, not abc"),
        ("trainer.epochs=null", "trainer.epochs must be a whole number, at least 1, not null"),
        ("trainer.minutes=soon", "or null"),
        ("trainer.precision=foo", "bf16-mixed"),
        ("trainer.accelerator=foo", "trainer.accelerator must be auto"),
        ("data.valid=null", "data.valid must be a text, or a list of texts, not null"),
        ("data.train=[]", "data.train"),
        ("seed=abc", "seed must be a whole number, at least 0, not abc"),
        ("optimizer.schedule=foo", "constant, linear, cosine or exponential"),
        ("optimizer.betas=[1]", "optimizer.betas"),
        ("features.hop=0", "features.hop must be at least 1e-06 and at most 10, not 0"),
        ("features.low=x", "features.low must be a number, at least 0, not x"),
        ("features.kind=smell", "logmel"),
        ("alphabet=[1,2]", "alphabet"),
        ("resume=maybe", "true or false"),
        ("~trainer.epochs", "trainer.epochs is missing"),
        ("+trainer.epoch=1", "trainer has no epoch, which would do nothing; it has minutes"),
        ("+data.dev=x", "data has no dev"),
        ("+optimiser.rate=1", "no optimiser"),
        ("+decoder.decoder=foo", "decoder.decoder=foo"),
        ("+decoder.width=3", "decoder has no width"),
        ("card=x", "card must be keys with values, not x"),
    ],
)
def test_what_cannot_be_used_is_named(override: str, said: str):
    with pytest.raises(InputError) as caught:
        check(composed("librispeech", override))
    assert said in str(caught.value)


def test_a_group_that_is_missing_or_empty_is_named():
    settings = composed("librispeech")
    with pytest.raises(InputError, match="trainer must be keys with values, not null"):
        check({**settings, "trainer": None})
    settings.pop("network")
    with pytest.raises(InputError, match="leaves out network: begin the defaults"):
        check(settings)


@pytest.mark.parametrize(
    "layers",
    [
        "[]",
        "7",
        "[{channels:4,kernel:3,stride:0}]",
        "[{channels:a,kernel:3,stride:1}]",
        "[{channels:4,kernel:3}]",
    ],
)
def test_convolutions_are_checked(layers: str):
    with pytest.raises(InputError, match="convolutions"):
        check(composed("unipen_words", f"network.convolutions={layers}"))


def test_levels_of_multidimensional_layers_are_checked():
    check(composed("mnist_strings", "network=mdlstm"))
    for override, said in (
        ("network.block=[2,0]", "network.block must be two whole numbers, at least 1 each, not [2, 0]"),
        ("network.levels=[]", "network.levels must be a list of layers, each with hidden"),
        (
            "network.levels=[{hidden:2,block:[1,0],units:3}]",
            "network.levels[1].block must be two whole numbers, at least 1 each, not [1, 0]",
        ),
        ("network.levels=[{hidden:2,units:3}]", "needs exactly hidden, block, units"),
        ("+network.convolutions=[]", "would do nothing"),
    ):
        with pytest.raises(InputError) as caught:
            check(composed("mnist_strings", "network=mdlstm", override))
        assert said in str(caught.value)


def test_a_recipes_own_keys_are_allowed_where_they_are_scalars_or_referred_to():
    check(composed("librispeech", "+fold=3"))
    check(composed("librispeech", "+own.x=3"), referenced={"own"})
    with pytest.raises(InputError, match="the configuration has no own"):
        check(composed("librispeech", "+own.x=3"))


def test_a_group_that_the_command_switches_may_keep_keys_of_the_recipes_choice():
    check(composed("an4", "network=stack"), switched={"network"})
    with pytest.raises(InputError, match="network has no"):
        check(composed("an4", "network=stack", "+network.hiden=3"), switched={"network"})


def test_find_recipe_names_ours():
    with pytest.raises(InputError, match="there are an4, fsdd"):
        find_recipe("nothing")
    assert "an4" in recipes({"speech"}) and "an4" not in recipes({"image", "ink"})
    assert isinstance(find_recipe("an4"), Path)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("speed.range", 5, "two numbers, the lower first"),
        ("speed.range", [1.1, 0.9], "two numbers, the lower first"),
        ("speed.range", [0.9, 1.0, 1.1], "two numbers, the lower first"),
        ("noise.range", ["a", 3], "two numbers, the lower first"),
        ("gain.probability", 1.5, "at least 0 and at most 1"),
        ("time_masks.count", 1.5, "whole number"),
        ("time_masks.width", -1, "at least 0"),
    ],
)
def test_what_cannot_be_drawn_is_told_by_its_key(key: str, value: object, says: str):
    settings = composed("an4", f"augment.{key}={value}")
    with pytest.raises(InputError) as caught:
        check(settings)
    assert f"augment.{key} must be " in str(caught.value) and says in str(caught.value)
