"""A setting is a field of a frozen dataclass: its default, its bounds and what it does, said once."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from carousel.common.errors import InputError

MISSING = "???"  # OmegaConf's mark of what a recipe must give
NOUNS = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    Mapping: "keys with values",
}
MEETS = {
    "at least": lambda value, bound: value >= bound,
    "above": lambda value, bound: value > bound,
    "at most": lambda value, bound: value <= bound,
    "below": lambda value, bound: value < bound,
}


def setting(
    default: Any,
    says: str,
    *,
    unit: str = "",
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    choices: Collection[str] = (),
    ordered: bool = False,
) -> Any:
    """A field of settings, whose type says what values may be.

    least, above, most, below: bounds of a number, or of each number of a pair; ordered: a pair has the lower
    first.
    """
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    rules = {
        "says": says,
        "unit": unit,
        "bounds": {name: bound for name, bound in bounds.items() if bound is not None},
        "choices": choices,
        "ordered": ordered,
    }
    return (
        field(default_factory=dict, metadata=rules)
        if default is dict
        else field(default=default, metadata=rules)
    )


def again(schema: type, name: str, default: Any) -> Any:
    """The setting `name` of another class, with another default."""
    return field(default=default, metadata=_parts(schema)[name].metadata)


def defaults(schema: Any) -> dict[str, Any]:
    """A class of settings, or an instance, as plain data: what a configuration or a model file holds."""
    given = schema() if isinstance(schema, type) else schema
    return {part.name: _plain(getattr(given, part.name)) for part in fields(given)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return defaults(value)
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def described(schema: Any, indent: str = "") -> Iterator[str]:
    """Lines that tell a class of settings: default, unit and what it does of each."""
    given = schema() if isinstance(schema, type) else schema
    for part in fields(given):
        value = getattr(given, part.name)
        says = ", ".join(filter(None, (part.metadata["unit"], part.metadata["says"])))
        if is_dataclass(value):
            yield f"{indent}{part.name}:  {says}"
            yield from described(value, indent + "  ")
        else:
            yield f"{indent}{part.name}: {_shown(_plain(value))}  {says}"


def check(
    schema: type, given: Any, where: str, *, partial: bool = False, spare: Collection[str] = ()
) -> None:
    """Raises InputError for a key that would do nothing and for a value that cannot be used.

    where: of the settings in the configuration, for messages; partial: keys may be missing; spare: keys that
    are let pass beside those of the class.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{where} must be keys with values, not {_shown(given)}")
    known = _parts(schema)
    if unknown := [str(key) for key in given if key not in known and key not in spare]:
        raise InputError(
            f"{where or 'the configuration'} has no {', '.join(unknown)}, which would do nothing; "
            f"it has {', '.join([*known, *spare])}"
        )
    for name, part in known.items():
        key = f"{where}.{name}" if where else name
        if name in given:
            _check_value(key, part.type, part.metadata, given[name])
        elif not partial:
            raise InputError(f"{key} is missing; it must be {_expected(part.type, part.metadata)}")


def _parts(schema: type) -> dict[str, Any]:
    return {part.name: part for part in fields(schema)}


def _check_value(key: str, kind: Any, rules: Mapping[str, Any], value: Any) -> None:
    if is_dataclass(kind):
        check(kind, value, key)  # type: ignore[arg-type]
    elif is_dataclass(layer := (get_args(kind) or [None])[0]):
        _check_layers(key, layer, value)  # type: ignore[arg-type]
    elif not _fits(kind, rules, value):
        scalar = not isinstance(value, list) and _fits(kind, {**rules, "bounds": {}}, value)
        expected = _bounds(rules) if scalar else _expected(kind, rules)
        raise InputError(f"{key} must be {expected}, not {_shown(value)}")


def _check_layers(key: str, layer: type, value: Any) -> None:
    names = ", ".join(_parts(layer))
    if not isinstance(value, list) or not value:
        raise InputError(f"{key} must be a list of layers, each with {names}, not {_shown(value)}")
    for number, one in enumerate(value, 1):
        if not isinstance(one, Mapping) or set(one) != set(_parts(layer)):
            raise InputError(f"{key}: layer {number} needs exactly {names}, not {one}")
        check(layer, one, f"{key}[{number}]")


def _fits(kind: Any, rules: Mapping[str, Any], value: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_fits(part, rules, value) for part in get_args(kind))
    if kind is NoneType:
        return value is None
    if get_origin(kind) is tuple:
        part, end = get_args(kind)
        right_count = isinstance(value, list) and (len(value) == 2 or (end is ... and value))
        numbers = right_count and all(_fits(part, rules, one) for one in value)
        return bool(numbers) and not (rules["ordered"] and value[0] > value[1])
    if rules["choices"]:
        return isinstance(value, str) and value in rules["choices"]
    if kind in (int, float):
        if not isinstance(value, int if kind is int else int | float) or isinstance(value, bool):
            return False
        return math.isfinite(value) and all(MEETS[name](value, b) for name, b in rules["bounds"].items())
    return isinstance(value, kind) and value != ""


def _bounds(rules: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} {bound:,}" for name, bound in rules["bounds"].items())


def _expected(kind: Any, rules: Mapping[str, Any]) -> str:
    """What a value must be, for a message."""
    if isinstance(kind, UnionType):
        return ", or ".join(_expected(part, rules) for part in get_args(kind))
    if kind is NoneType:
        return "null"
    if rules["choices"]:
        return one_of(rules["choices"])
    limits = f", {_bounds(rules)}" if rules["bounds"] else ""
    if get_origin(kind) is tuple:
        part, end = get_args(kind)
        order = ", the lower first" if rules["ordered"] else ""
        return f"{'a list of' if end is ... else 'two'} {NOUNS[part]}s{limits and f'{limits} each'}{order}"
    return f"{'' if kind in (bool, Mapping) else 'a '}{NOUNS[kind]}{limits}"


def one_of(names: Collection[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
