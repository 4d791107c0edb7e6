"""Train, valid and test of a user's data."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.common.data.layouts import group_of
from carousel.common.errors import InputError
from carousel.common.train.own.splits import split


def rows(*groups: str | None, key: str = "speaker", text: str = "text {}") -> list[dict[str, Any]]:
    found = [{"audio": f"{k}.wav", "text": text.format(k), key: group} for k, group in enumerate(groups)]
    return [{name: value for name, value in row.items() if value is not None} for row in found]


@given(st.lists(st.sampled_from("abcdefg"), min_size=3, max_size=60), st.sampled_from(["speaker", "page"]))
def test_all_rows_are_in_one_part_and_no_group_in_two(groups: list[str], key: str):
    data = rows(*groups, key=key)
    parts, how = split(data)
    names = [row["audio"] for part in parts.values() for row in part]
    assert sorted(names) == sorted(row["audio"] for row in data)
    assert parts["train"] and parts["valid"]
    if len(set(groups)) > 1:
        owners = [{group_of(row) for row in part} for part in parts.values()]
        assert sum(map(len, owners)) == len(set().union(*owners)) and key in how
        assert ("test" in parts) == (len(set(groups)) >= 4)


@given(st.lists(st.sampled_from("abcdefg"), min_size=3, max_size=60), st.randoms())
def test_the_order_of_the_rows_changes_nothing(groups: list[str], random: Any):
    data = rows(*groups)
    moved = list(data)
    random.shuffle(moved)
    first, second = split(data).parts, split(moved).parts
    if len(set(groups)) > 1:
        assert {n: {r["audio"] for r in p} for n, p in first.items()} == {
            n: {r["audio"] for r in p} for n, p in second.items()
        }


def test_one_voice_is_split_by_text():
    data = [row for k in range(40) for row in rows("me", "me", text=f"text {k}")]
    parts, how = split(data)
    texts = [{row["text"] for row in part} for part in parts.values()]
    assert sum(map(len, texts)) == 40 and all(texts) and "by text, as there is one speaker only" in how
    assert "no sample says who" in split(rows(*[None] * 20)).how


def test_a_large_group_is_not_held_out():
    parts = split(rows(*"a" * 80, *"bcdefghijk" * 2)).parts
    assert {row["speaker"] for row in parts["train"]} >= {"a"}
    assert len(parts["valid"]) >= 10 and len(parts["test"]) >= 10


def test_texts_that_repeat_are_not_held_out():
    data = [{"audio": f"{k}.wav", "text": "yes" if k % 2 else "no"} for k in range(100)]
    parts, how = split(data)
    assert all({row["text"] for row in part} == {"yes", "no"} for part in parts.values())
    assert "the same texts repeat" in how


def marked(groups: str, splits: str) -> list[dict[str, Any]]:
    """Rows that say their split. splits: r for train, v for valid, t for test."""
    names = {"r": "train", "v": "valid", "t": "test"}
    return [row | {"split": names[mark]} for row, mark in zip(rows(*groups), splits, strict=True)]


def test_a_split_of_the_data_is_kept():
    parts = split(marked("aabbc", "rrvvt")).parts
    assert [len(parts[name]) for name in ("train", "valid", "test")] == [2, 2, 1]
    parts, how = split(marked("zzabcdefgh", "ttrrrrrrrr"))
    assert [row["speaker"] for row in parts["test"]] == ["z", "z"] and parts["valid"]
    assert len(parts["train"]) + len(parts["valid"]) == 8 and "test as the data says" in how
    assert "2 of the speakers or writers of valid are in train as well" in split(marked("abab", "rrvv")).how


def test_data_that_cannot_be_split():
    with pytest.raises(InputError, match="none to train on"):
        split(marked("abc", "vvv"))
    with pytest.raises(InputError, match="too few"):
        split(rows("a", "b"))
