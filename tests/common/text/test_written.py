"""Texts as settings have them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.common.errors import InputError
from carousel.common.settings.field import defaults
from carousel.common.settings.text import Text
from carousel.common.text.written import reference, settings_in, told, written

USUAL = defaults(Text)


@pytest.mark.parametrize(
    ("given", "settings", "expected"),
    [
        ("Él dijo: «sí»", {"case": "upper"}, "ÉL DIJO: «SÍ»"),
        ("Straße", {"case": "upper"}, "STRASSE"),
        ("e\u0301t\u00e9", {}, "été"),
        ("ﬁn ＡＢ", {"form": "NFKC"}, "fin AB"),
        ("well-known, isn't it?", {"drop": "punctuation"}, "well known isnt it"),
        ("well-known, isn't it?", {"case": "upper", "keep": "A-Z '"}, "WELL KNOWN ISN'T IT"),
        ("3 cats – 4", {"keep": "letters"}, "cats"),
        ("3 cats", {"keep": "letters digits", "others": "leave"}, "3 cats"),
        ("3 cats!", {"keep": "letters digits", "others": "leave"}, None),
        ("3 cats!", {"keep": "letters digits", "drop": "!", "others": "leave"}, "3 cats"),
        ("हिन्दी!", {"keep": "letters"}, "हिन्दी"),
        ("a-b", {"keep": "letters -"}, "a-b"),
    ],
)
def test_written(given, settings, expected):
    assert written(given, {**USUAL, **settings}) == expected


@given(
    st.text(),
    st.fixed_dictionaries(
        {
            "case": st.sampled_from(["keep", "upper", "lower"]),
            "form": st.sampled_from(["NFC", "NFKC"]),
            "keep": st.sampled_from([None, "letters", "a-z A-Z é", "letters digits '"]),
            "drop": st.sampled_from([None, "punctuation", "a"]),
            "others": st.sampled_from(["drop", "leave"]),
        }
    ),
)
def test_what_is_written_is_nfc_and_stays_as_it_is(text, settings):
    once = written(text, settings)
    assert once is None or (unicodedata.is_normalized("NFC", once) and written(once, settings) == once)
    assert reference(text, settings) == once or (once is None and settings["others"] == "leave")


@given(st.text())
def test_without_settings_a_text_is_as_it_was(text):
    assert written(text, {}) == written(text, USUAL) == unicodedata.normalize("NFC", text)


def test_a_reference_that_training_would_leave_out_is_measured_whole():
    assert reference("3 Cats!", {**USUAL, "case": "upper", "keep": "letters", "others": "leave"}) == "3 CATS!"


def test_what_a_card_says():
    assert settings_in({}) == {} and told({}) == told(USUAL) == ""
    settings = {**USUAL, "case": "lower", "drop": "punctuation"}
    assert settings_in({"text": settings}) == settings
    assert told(settings) == "text.case=lower, text.drop=punctuation"
    with pytest.raises(InputError, match="damaged"):
        settings_in({"text": {"case": "sideways"}})
