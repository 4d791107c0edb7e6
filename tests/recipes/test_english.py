"""How English texts are said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.recipes.english import MOST, readings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It’s a ‘well-known’ café, isn't it?", ["IT'S A WELL KNOWN CAFE ISN'T IT"]),
        ("“So,” she said … “let’s go!”", ["SO SHE SAID LET'S GO"]),
        ("the dogs' owners", ["THE DOGS OWNERS"]),
        ("Q&A", ["Q AND A"]),
        ("…", []),
        ("x²", []),
        ("5 % of $3", ["FIVE PERCENT OF THREE DOLLARS"]),
        ("$1 or £2.5 million", ["ONE DOLLAR OR TWO POINT FIVE MILLION POUNDS"]),
        ("the 1960s, 20's", ["THE NINETEEN SIXTIES TWENTIES"]),
        ("the 21st, COVID-19", ["THE TWENTY FIRST COVID NINETEEN"]),
        ("10:05", ["TEN OH FIVE"]),
        ("1,234.5", ["ONE THOUSAND TWO HUNDRED THIRTY FOUR POINT FIVE"]),
        ("in 1900", ["IN NINETEEN HUNDRED", "IN ONE THOUSAND NINE HUNDRED", "IN A THOUSAND NINE HUNDRED"]),
        ("in 2004", ["IN TWO THOUSAND FOUR", "IN TWENTY OH FOUR", "IN TWO THOUSAND AND FOUR"]),
        ("150", ["ONE HUNDRED FIFTY", "ONE HUNDRED AND FIFTY", "A HUNDRED FIFTY"]),
        ("007", ["ZERO ZERO SEVEN", "SEVEN"]),
    ],
)
def test_readings(text: str, said: list[str]) -> None:
    assert readings(text) == said


@given(st.text(st.sampled_from("0123456789.,:%$ saé'-²"), max_size=30))
def test_readings_are_few_different_and_in_the_letters(text: str) -> None:
    found = readings(text)
    assert len(found) == len(set(found)) <= MOST
    assert all(
        set(said) <= set(" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ") and said == " ".join(said.split()) for said in found
    )
