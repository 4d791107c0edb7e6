"""The settings of common.settings in Hydra's store, and the check of a whole configuration by them."""

from collections.abc import Collection, Mapping
from typing import Any

from carousel.common.errors import InputError
from carousel.common.settings.field import check as check_part
from carousel.common.settings.field import defaults, one_of
from carousel.common.settings.training import GROUPS, Language, Recogniser

TELLERS = {"features": "kind", "network": "front", "optimizer": "kind"}  # settings that name the choice


def register() -> None:
    """Hands the defaults to Hydra, as if each were a file of conf/.

    As plain data: with types, Hydra would refuse the keys that a recipe leaves in a group which the command
    line has chosen anew, and speak of its own in messages.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, schema in {"recogniser": Recogniser, "language_model": Language}.items():
        store.store(name, defaults(schema))
    for group, choices in GROUPS.items():
        for name, schema in choices.items():
            store.store(name, defaults(schema), group)


def top_level(language: bool = False) -> list[str]:
    """The keys that every configuration has, of a recogniser or of a language model."""
    return [*defaults(Language), "optimizer"] if language else [*defaults(Recogniser), *GROUPS]


def completed(groups: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Groups of a model file; `network` with what that of an earlier version does not tell."""
    front = GROUPS["network"].get(str(groups["network"].get("front")))
    return {**groups, "network": {**(defaults(front) if front else {}), **groups["network"]}}


def check(
    settings: Mapping[str, Any], referenced: Collection[str] = (), switched: Collection[str] = ()
) -> None:
    """Raises InputError for a key that would do nothing and for a value that cannot be used.

    settings: a resolved configuration. referenced: keys that others refer to (`fold` in recipes/fsdd), which
    may be a recipe's own. switched: groups that the command line has chosen anew, in which keys of the
    recipe's choice are left over.
    """
    if missing := [key for key in top_level() if key not in settings]:
        raise InputError(
            f"the recipe leaves out {', '.join(missing)}: begin the defaults of its recipe.yaml with base"
        )
    own = {key for key, value in settings.items() if not isinstance(value, Mapping | list)}
    check_part(Recogniser, settings, "", spare=[*GROUPS, *sorted((own | {*referenced}) - {*top_level()})])
    for group in ("features", "network", "optimizer"):
        _check_choice(group, settings[group], group in switched)
    check_part(GROUPS["trainer"]["default"], settings["trainer"], "trainer")
    _check_augment(settings["augment"], settings["features"]["kind"])
    _check_decoder(settings["decoder"])


def check_language(settings: Mapping[str, Any], switched: Collection[str] = ()) -> None:
    """As `check`, for the training of a language model."""
    check_part(Language, settings, "", spare=["optimizer"])
    _check_choice("optimizer", settings.get("optimizer"), "optimizer" in switched)
    if settings["running"] and settings["unit"] == "words":
        raise InputError("running=true goes with unit=characters")


def _check_choice(group: str, given: Any, switched: bool) -> None:
    choices, teller = GROUPS[group], TELLERS[group]
    if not isinstance(given, Mapping):
        raise InputError(f"{group} must be keys with values, not {given}")
    name = given.get(teller)
    if not isinstance(name, str) or name not in choices:
        raise InputError(f"{group}.{teller} must be {one_of(choices)}, not {name}")
    others = {key for schema in choices.values() for key in defaults(schema)} if switched else ()
    # what the features of a model leave out is theirs to say
    check_part(choices[name], given, group, partial=group == "features", spare=sorted(others))


def _check_augment(augment: Any, kind: str) -> None:
    """The values; which changes there are is theirs to say (common.train.data tries them)."""
    if not isinstance(augment, Mapping):
        raise InputError(f"augment must be keys with values, not {augment}")
    schema = GROUPS["augment"].get(kind, GROUPS["augment"]["speech"])
    check_part(schema, augment, "augment", partial=True, spare=[*augment])


def _check_decoder(decoder: Mapping[str, Any]) -> None:
    from carousel.common.decoding import find, options_of

    name = decoder.get("decoder", "greedy")
    try:
        find(name)
    except (InputError, ImportError, TypeError) as error:
        raise InputError(f"decoder.decoder={name} cannot be used: {error}") from error
    known = dict.fromkeys(["decoder", "beam", "nbest", *options_of(name)])
    if unknown := [key for key in decoder if key not in known]:
        raise InputError(
            f"decoder has no {', '.join(unknown)}, which would do nothing; it has {', '.join(known)}"
        )
