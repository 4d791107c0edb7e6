"""What the settings of a training may be: unknown keys and impossible values are told at once."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from carousel.common.errors import InputError

CONF = Path(__file__).resolve().parents[2] / "conf"
# Groups whose keys are known, with the setting that tells which file of conf/ they are of. Those of `augment`
# are the rooms' to know: common.train.data tries them.
GROUPS = {"features": "kind", "network": "front", "optimizer": "kind", "trainer": None}
DATA = ("train", "valid", "test")
BASES = ("defaults", "hydra")  # keys of Hydra's own
LISTS = {  # layers of some fronts: the setting, and what each of its entries has
    "conv1d": ("convolutions", ("channels", "kernel", "stride")),
    "conv2d": ("convolutions", ("channels", "kernel", "stride")),
    "mdlstm": ("levels", ("hidden", "block", "units")),
}
# Not 16-true: without weights in float32 beside, most steps of float16 are lost.
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")
# Those of common.lstm.cells that need no more than features, named here so that settings need no torch.
CELLS = (
    *("lstm", "peephole", "gru", "lstm1997", "lstm1997_linear", "layer_norm"),
    *("nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr"),
)


@dataclass(frozen=True)
class Rule:
    holds: Callable[[Any], bool]
    says: str  # what a value should be, for the message


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(low: int) -> Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= low

    return Rule(holds, f"it should be a whole number of at least {low}")


def above(low: float) -> Rule:
    return Rule(lambda v: _is_number(v) and v > low, f"it should be a number above {low}")


def within(low: float, high: float = math.inf) -> Rule:
    says = f"it should be a number of at least {low}" if high == math.inf else f"it should be {low} … {high}"
    return Rule(lambda v: _is_number(v) and low <= v <= high, says)


def share() -> Rule:
    return Rule(lambda v: _is_number(v) and 0 <= v < 1, "it should be a number from 0 to below 1")


def one_of(*names: Any) -> Rule:
    *most, last = map(str, names)
    return Rule(lambda v: v in names, f"there are {', '.join(most)} and {last}")


def optional(rule: Rule) -> Rule:
    return Rule(lambda v: v is None or rule.holds(v), f"{rule.says}, or null")


def _is_manifests(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name for name in names)


FLAG = Rule(lambda v: isinstance(v, bool), "it should be true or false")
NUMBER = Rule(_is_number, "it should be a number")
TEXT = Rule(lambda v: isinstance(v, str) and bool(v), "it should be a text")
MAPPING = Rule(lambda v: isinstance(v, Mapping), "it should be keys with values")
MANIFESTS = Rule(_is_manifests, "it should be a manifest, or a list of manifests")
SHARES = Rule(
    lambda v: isinstance(v, list) and len(v) == 2 and all(map(share().holds, v)),
    "it should be two numbers from 0 to below 1",
)
BLOCK = Rule(
    lambda v: isinstance(v, list) and len(v) == 2 and all(map(whole(1).holds, v)),
    "it should be two whole numbers of at least 1",
)
RANGE = Rule(
    lambda v: isinstance(v, list) and len(v) == 2 and all(map(_is_number, v)) and v[0] <= v[1],
    "it should be two numbers, the lower first",
)
SYMBOLS = Rule(
    lambda v: isinstance(v, str | list) and bool(v) and all(isinstance(c, str) for c in v),
    "it should be the symbols as one text",
)

RULES: dict[str, Rule] = {
    "name": TEXT,
    "alphabet": optional(SYMBOLS),
    "seed": whole(0),
    "init": optional(TEXT),
    "resume": FLAG,
    "data.train": MANIFESTS,
    "data.valid": MANIFESTS,
    "trainer.epochs": whole(1),
    "trainer.minutes": optional(above(0)),
    "trainer.patience": optional(whole(1)),
    "trainer.max_frames": whole(1),
    "trainer.max_items": whole(1),
    "trainer.ema": share(),
    "trainer.validate_every": whole(1),
    "trainer.checkpoint_minutes": within(0),
    "trainer.accelerator": one_of("auto", "cpu", "cuda", "gpu", "mps"),
    "trainer.precision": one_of(*PRECISIONS),
    "trainer.devices": whole(1),
    "trainer.threads": optional(whole(1)),
    "trainer.workers": whole(0),
    "trainer.cache_megabytes": within(0),
    "trainer.tensorboard": FLAG,
    "trainer.half": FLAG,
    "network.front": one_of("stack", "conv1d", "conv2d", "mdlstm"),
    "network.hidden": whole(1),
    "network.layers": whole(1),
    "network.cell": one_of(*CELLS),
    "network.bidirectional": FLAG,
    "network.dropout": share(),
    "network.projection": whole(0),
    "network.recurrent_dropout": share(),
    "network.zoneout": SHARES,
    "optimizer.kind": one_of("adamw", "sgd"),
    "optimizer.rate": above(0),
    "optimizer.weight_decay": within(0),
    "optimizer.schedule": one_of("constant", "linear", "cosine", "exponential"),
    "optimizer.warmup": within(0, 1),
    "optimizer.final": within(0),
    "optimizer.clip": within(0),
    "optimizer.weight_noise": within(0),
}
BY_KIND: dict[str, dict[str, Rule]] = {  # rules for some fronts, optimizers and features only
    "stack": {"network.stride": whole(1)},
    "conv1d": {"network.front_dropout": share()},
    "conv2d": {"network.front_dropout": share()},
    "mdlstm": {"network.front_dropout": share(), "network.block": BLOCK},
    "adamw": {"optimizer.betas": SHARES},
    "sgd": {"optimizer.momentum": share()},
}
FEATURES: dict[str, Rule] = {  # of whichever kind; the others are as conf/features has them: numbers or flags
    **dict.fromkeys(("sample_rate", "filters", "coefficients", "height"), whole(1)),
    **dict.fromkeys(("window", "hop", "spacing", "pen_up_spacing", "spread", "context_cell"), above(0)),
    **dict.fromkeys(("deltas", "pen_up_steps", "vicinity"), whole(0)),
}

BLOCKS: dict[str, Rule] = {  # of any change to a training sample
    "probability": within(0, 1),
    "range": RANGE,
    "count": whole(0),
    **dict.fromkeys(("width", "proportion", "grid"), within(0)),
}

LANGUAGE: dict[str, Rule] = {  # of a language model's training, conf/language.yaml
    **{key: RULES[key] for key in ("name", "seed", "init", "resume", "data.train", "data.valid")},
    **{key: rule for key, rule in RULES.items() if key.startswith("optimizer.")},
    "fit": optional(TEXT),
    "unit": one_of("characters", "words"),
    "running": FLAG,
    "vocabulary": optional(whole(1)),
    "card": MAPPING,
    "network.embedding": whole(1),
    "network.hidden": whole(1),
    "network.layers": whole(1),
    "network.cell": one_of(*CELLS),
    "network.dropout": share(),
    "trainer.steps": whole(1),
    "trainer.minutes": optional(above(0)),
    "trainer.validate_every": whole(1),
    "trainer.patience": optional(whole(1)),
    "trainer.rows": whole(1),
    "trainer.window": whole(1),
    "trainer.reset": within(0, 1),
    **{f"trainer.{key}": RULES[f"trainer.{key}"] for key in ("accelerator", "precision", "threads", "half")},
}


@cache
def _known(group: str) -> dict[str, dict[str, Any]]:
    """The settings of each file of a group, by the name of the file."""
    return {path.stem: dict(OmegaConf.load(path)) for path in sorted((CONF / group).glob("*.yaml"))}


def top_level(language: bool = False) -> list[str]:
    """The keys that every configuration has, of a recogniser or of a language model."""
    base = OmegaConf.load(CONF / ("language.yaml" if language else "base.yaml"))
    further = ("optimizer",) if language else (*GROUPS, "augment")
    return list(dict.fromkeys([*(str(key) for key in base if key not in BASES), *further]))


def completed(groups: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Groups of a model file; `network` with what that of an earlier version does not tell."""
    network = groups["network"]
    return {**groups, "network": {**_known("network").get(str(network.get("front")), {}), **network}}


def check(
    settings: Mapping[str, Any], referenced: Collection[str] = (), switched: Collection[str] = ()
) -> None:
    """Raises InputError for a key that would do nothing and for a value that cannot be used.

    settings: a resolved configuration. referenced: keys that others refer to (`fold` in recipes/fsdd), which
    may be a recipe's own. switched: groups that the command line has chosen anew, in which keys of the
    recipe's choice are left over.
    """
    _check_top(settings, referenced)
    for name in ("data", "decoder", "card", "augment", *GROUPS):
        _check_value(name, settings[name], MAPPING)
    _check_known("data", settings["data"], DATA)
    rules = dict(RULES)
    for group, teller in GROUPS.items():
        rules |= _check_group(group, settings[group], teller, group in switched)
    _check_rules(settings, rules)
    if settings["network"]["front"] in LISTS:
        _check_layers(settings["network"], *LISTS[settings["network"]["front"]])
    _check_features(settings["features"])
    _check_augment(settings["augment"])
    _check_decoder(settings["decoder"])


def check_language(settings: Mapping[str, Any], switched: Collection[str] = ()) -> None:
    """As `check`, for the training of a language model."""
    ours: Any = OmegaConf.to_container(OmegaConf.load(CONF / "language.yaml"))
    _check_known("the configuration", settings, top_level(language=True))
    for name in ("data", "network", "trainer", "optimizer"):
        _check_value(name, settings[name], MAPPING)
        if name != "optimizer":
            _check_known(name, settings[name], ours[name])
    further = _check_group("optimizer", settings["optimizer"], "kind", "optimizer" in switched)
    _check_rules(settings, LANGUAGE | further)
    if settings["running"] and settings["unit"] == "words":
        raise InputError("running=true goes with unit=characters")


def _check_rules(settings: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    for key, rule in rules.items():
        group, _, name = key.rpartition(".")
        place = settings[group] if group else settings
        if name not in place:
            raise InputError(f"{key} is missing: {rule.says}")
        _check_value(key, place[name], rule)


def _check_value(key: str, value: Any, rule: Rule) -> None:
    if not rule.holds(value):
        raise InputError(f"{key}={'null' if value is None else value} cannot be used: {rule.says}")


def _check_known(where: str, given: Collection[str], known: Collection[str]) -> None:
    if unknown := [str(key) for key in given if key not in known]:
        raise InputError(
            f"{where} has no {', '.join(unknown)}, which would do nothing; it has {', '.join(known)}"
        )


def _check_top(settings: Mapping[str, Any], referenced: Collection[str]) -> None:
    known = top_level()
    if missing := [key for key in known if key not in settings]:
        raise InputError(
            f"the recipe leaves out {', '.join(missing)}: begin the defaults of its recipe.yaml with base"
        )
    own = {key for key, value in settings.items() if not isinstance(value, Mapping | list)}
    _check_known("the configuration", settings, [*known, *sorted((own | set(referenced)) - set(known))])


def _check_group(group: str, given: Mapping[str, Any], teller: str | None, switched: bool) -> dict[str, Rule]:
    """Checks the keys of a group; returns the rules that hold for what is chosen in it."""
    files = _known(group)
    chosen = given.get(teller) if teller else "default"
    if not isinstance(chosen, str) or chosen not in files:
        _check_value(f"{group}.{teller}", chosen, one_of(*files))
    every = {key for file in files.values() for key in file}
    _check_known(group, given, every if switched else files[str(chosen)])
    return BY_KIND.get(str(chosen), {})


def _check_layers(network: Mapping[str, Any], key: str, parts: Collection[str]) -> None:
    layers = network.get(key)
    if not isinstance(layers, list) or not layers:
        raise InputError(
            f"network.{key}={layers} cannot be used: it should be a list, each with {', '.join(parts)}"
        )
    for layer in layers:
        if not isinstance(layer, Mapping) or set(layer) != set(parts):
            raise InputError(f"network.{key}: {layer} needs exactly {', '.join(parts)}")
        numbers = [n for value in layer.values() for n in (value if isinstance(value, list) else [value])]
        if not all(map(whole(1).holds, numbers)):
            raise InputError(f"network.{key}: {layer} should have whole numbers of at least 1")


def _check_features(features: Mapping[str, Any]) -> None:
    for key, ours in _known("features")[features["kind"]].items():
        if key in features and key != "kind":
            rule = FEATURES.get(key, FLAG if isinstance(ours, bool) else NUMBER)
            _check_value(f"features.{key}", features[key], rule)


def _check_augment(augment: Mapping[str, Any]) -> None:
    """What all blocks have alike; the rest is the rooms' to know."""
    for name, block in augment.items():
        for key, rule in BLOCKS.items():
            if isinstance(block, Mapping) and key in block:
                _check_value(f"augment.{name}.{key}", block[key], rule)


def _check_decoder(decoder: Mapping[str, Any]) -> None:
    from carousel.common.decoding import find, options_of

    name = decoder.get("decoder", "greedy")
    try:
        find(name)
    except (InputError, ImportError, TypeError) as error:
        raise InputError(f"decoder.decoder={name} cannot be used: {error}") from error
    known = ["decoder", "beam", "nbest"]
    _check_known("decoder", decoder, known + [option for option in options_of(name) if option not in known])
