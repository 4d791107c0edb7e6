"""Train, valid and test of samples without a split: whole speakers, writers or pages, by a fixed hash."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from carousel.common.data.layouts import SPLITS, Row, group_of
from carousel.common.errors import InputError

SHARE = 0.1  # of the samples that valid gets, and test
LARGEST = 0.25  # share of one group that is held out, where there is a smaller one
GROUPS = ("speaker", "writer", "page")  # keys of a row, in the order in which they are looked at
LEAST_GROUPS = {"valid": 2, "test": 4}  # with fewer, a whole one is too much to hold out
REPEATED = 0.5  # share of distinct texts, below which texts repeat so that they cannot be held out


class Split(NamedTuple):
    parts: dict[str, list[Row]]  # train, valid and perhaps test
    how: str  # in words


def split(rows: Sequence[Row]) -> Split:
    """The rows in train, valid and test; those that say their "split" keep it.

    Raises InputError for too few rows, and for a split without train.
    """
    if len(rows) < 3:
        count = f"{len(rows)} usable sample{'s' * (len(rows) != 1)}"
        raise InputError(f"has {count}, too few to train and validate on")
    if any(row.get("split") for row in rows):
        return _given(rows)
    groups = {group for row in rows if (group := group_of(row)) is not None}
    kind = next((key for key in GROUPS if any(row.get(key) is not None for row in rows)), "recording")
    if len(groups) >= LEAST_GROUPS["valid"]:
        names = ["valid", *["test"] * (len(groups) >= LEAST_GROUPS["test"])]
        parts = held_out(rows, lambda row: group_of(row) or "", names)
        how = f"by {kind}, none of which is in two parts"
        missing = "" if "test" in names else f"; no test, as there are only {len(groups)} {kind}s"
        return Split(parts, how + missing)
    one = f"there is one {kind} only" if groups else "no sample says who speaks or writes it"
    if len({row["text"] for row in rows}) < REPEATED * len(rows):
        return Split(held_out(rows, _name, SPLITS[1:]), f"by sample, as {one} and the same texts repeat")
    return Split(held_out(rows, lambda row: str(row["text"]), SPLITS[1:]), f"by text, as {one}")


def held_out(rows: Sequence[Row], key: Callable[[Row], str], names: Iterable[str]) -> dict[str, list[Row]]:
    """SHARE of the rows for each of `names`, all of a key together, and the rest as train.

    Keys come in the order of their SHA-256, so the same data is always split alike. A large one is passed
    over while there are others.
    """
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[key(row)].append(row)
    order = sorted(members, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    small = [name for name in order if len(members[name]) <= LARGEST * len(rows)]
    waiting = small if len(small) > 1 else sorted(order, key=lambda name: len(members[name]))
    parts: dict[str, list[Row]] = {"train": []}
    for part in names:
        parts[part] = []
        while waiting and len(members) > 1 and len(parts[part]) < SHARE * len(rows):
            parts[part] += members.pop(waiting.pop(0))
    parts["train"] = [row for row in rows if key(row) in members]
    return parts


def _name(row: Row) -> str:
    """What tells a sample from all others."""
    source = row.get("audio") or row.get("image")
    return f"{source}:{row.get('start')}" if source else str([len(s) for s in row["strokes"]]) + row["text"]


def _given(rows: Sequence[Row]) -> Split:
    parts: dict[str, list[Row]] = {name: [] for name in SPLITS}
    for row in rows:
        name = row.get("split") or "train"
        if name not in parts:
            raise InputError(f'has "split": {name!r}; give train, valid or test')
        parts[name].append(row)
    if not parts["train"]:
        raise InputError("has samples of valid or test only, and none to train on")
    how = "as the data says"
    if not parts["valid"]:
        inner = split([{k: v for k, v in row.items() if k != "split"} for row in parts["train"]])
        told = parts["test"]
        spare = inner.parts.get("test", [])
        parts = {
            "train": inner.parts["train"] + (spare if told else []),
            "valid": inner.parts["valid"],
            "test": told or spare,
        }
        how = f"{'test as the data says, ' if told else ''}valid {inner.how}"
    shared = {group_of(row) for row in parts["train"]} & {group_of(row) for row in parts["valid"]} - {None}
    if shared:
        how += f"; {len(shared)} of the speakers or writers of valid are in train as well"
    return Split({name: part for name, part in parts.items() if part or name != "test"}, how)
