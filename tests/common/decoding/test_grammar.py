import logging
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.ctc.loss import log_likelihood
from carousel.common.decoding import beam as beam_search
from carousel.common.decoding import decode
from carousel.common.decoding.beam import Pruning
from carousel.common.decoding.compiled import best_path
from carousel.common.decoding.constraints import constraints_of
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet
from tests.common.decoding.test_beam import (
    HOLED,
    LM_LATTICES,
    UNLIMITED,
    check_alignment,
    lm_score,
    spoken,
    toy_lm,
)
from tests.common.decoding.test_hotwords import PHRASES, hotword_score, written
from tests.oracles import ctc as oracle

AB = Alphabet(" ab")
WORDS = ["a", "b", "ab", "ba"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("grammar")


count = iter(range(10**9))  # files are kept by their names, so each content has its own


def saved(folder, content):
    path = folder / f"{next(count)}.jsgf"
    path.write_text(content, encoding="utf-8")
    return path


def joined(parts, jsgf_by, regex_by=""):
    return jsgf_by.join(j for j, _ in parts), regex_by.join(r for _, r in parts)


def wrapped(before, after, regex_mark):
    return lambda pair: (f"{before}{pair[0]}{after}", f"(?:{pair[1]}){regex_mark}")


# Pairs of a JSGF expression and a regular expression of the same texts, each word with a space after it.
LEAVES = st.sampled_from(
    [(word, f"{word} ") for word in WORDS] + [('"a b"', "a b "), ("<NULL>", ""), ("<two>", "b a ")]
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: joined(parts, " ")),
        st.lists(inner, min_size=2, max_size=3)
        .map(lambda parts: joined(parts, " | ", "|"))
        .map(wrapped("(", ")", "")),
        inner.map(wrapped("[", "]", "?")),
        inner.map(wrapped("(", ")*", "*")),
        inner.map(wrapped("( ", " )+", "+")),
    ),
    max_leaves=6,
)


def allowed(regex, text):
    canonical = text == " ".join(text.split())
    return canonical and re.fullmatch(regex, text + " " if text else "") is not None


@settings(deadline=None)
@given(LM_LATTICES, EXPRESSIONS, st.sampled_from([None, "words", "characters"]), st.booleans())
def test_only_sentences_of_the_grammar_are_written_with_exact_scores(folder, log_probs, pair, unit, hot):
    """Against the enumeration of all texts and a regular expression; with language models and hotwords."""
    jsgf, regex = pair
    path = saved(folder, f"#JSGF V1.0;\ngrammar g;\n<two> = b a;\npublic <s> = {jsgf};\n")
    model = toy_lm(unit) if unit else None
    options = {"lm": model, "lm_weight": 0.7} if model else {}
    options |= {"hotwords": written(folder / "hot.tsv", PHRASES)} if hot else {}
    expected = {
        text: total
        + (lm_score(model, text, 0.7, 0.0, 0.0) if model else 0.0)
        + (hotword_score(text, PHRASES) if hot else 0.0)
        for indices, (total, _) in oracle.texts(log_probs).items()
        if allowed(regex, text := AB.decode(indices))
    }
    if re.fullmatch("[^a-z]*", regex):
        with pytest.raises(InputError, match="allows no sentence"):
            decode(log_probs, AB, "beam", grammar=path)
        return
    found = decode(log_probs, AB, "beam", **UNLIMITED, grammar=path, **options)
    if not expected:
        assert [hypothesis.text for hypothesis in found] == [""]
        return
    assert {hypothesis.text for hypothesis in found} == expected.keys()
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[hypothesis.text], abs=1e-5)


@settings(deadline=None)
@given(LM_LATTICES | HOLED, EXPRESSIONS, st.booleans())
def test_the_best_path_without_a_beam_is_that_of_enumeration(folder, log_probs, pair, listed):
    """Of a grammar, and of a lexicon, where any number of spaces may be written."""
    if log_probs.shape[1] < 4 or not re.search("[a-z]", pair[1]):
        return
    if listed:
        options = {"lexicon": saved(folder, "a\nba\n")}
    else:
        options = {"grammar": saved(folder, f"#JSGF V1.0;\n<two> = b a;\npublic <s> = {pair[0]};\n")}
    texts = {AB.decode(indices): found.best for indices, found in oracle.texts(log_probs).items()}
    if listed:
        best = {text: score for text, score in texts.items() if set(text.split()) <= {"a", "ba"}}
    else:
        best = {text: score for text, score in texts.items() if allowed(pair[1], text)}
    indices = best_path.best_text(constraints_of(AB, **options).tables, log_probs)
    assert (indices is None) == (not best)
    if best:
        assert best[AB.decode(indices)] == pytest.approx(max(best.values()))


def test_a_beam_that_lost_every_sentence_still_gives_the_best_one(folder):
    """The beam follows b to its end, and all that may be said with b in front does not fit any more."""
    path = saved(folder, "bbbbb\nab\nba\n")
    log_probs = spoken("b-b-bb", 0.97, " ab")
    [found] = decode(log_probs, AB, "beam", beam=1, grammar=path)
    assert found.text in ("ab", "ba")
    total = log_likelihood(log_probs, AB.encode(found.text))
    assert found.score == pytest.approx(total)
    check_alignment(found, log_probs, AB, oracle_best(log_probs, found.text))
    search = beam_search.Search(Pruning(1, -8.0, 15.0), constraints_of(AB, grammar=path))
    for row in log_probs:
        search.feed(row[None])
    assert search.best(AB, 1) == [found]


def oracle_best(log_probs, text):
    return oracle.texts(log_probs.astype(float))[tuple(AB.encode(text))].best


def test_where_nothing_fits_the_text_is_empty_and_this_is_said(folder, caplog):
    path = saved(folder, "ab ab\n")
    with caplog.at_level(logging.WARNING):
        [found] = decode(spoken("ab", 0.9, " ab"), AB, "beam", grammar=path)
    assert found.text == "" and np.isfinite(found.score)
    assert [r.getMessage() for r in caplog.records] == [
        "nothing that may be written fits into 2 frames: the text is left empty"
    ]
    assert decode(np.zeros((0, 4)), AB, "beam", grammar=path)[0].text == ""


@pytest.mark.parametrize("header", ["", "\ufeff"])
def test_a_plain_list_has_comments_and_the_case_of_the_model(folder, header):
    path = saved(folder, header + "# commands\nab  A # so\n\nb\n")
    alphabet = Alphabet(" AB")
    found = decode(spoken("AB A", 0.7, " AB"), alphabet, "beam", **UNLIMITED, grammar=path)
    assert [h.text for h in found] == ["AB A", "B"]


def test_jsgf_in_full(folder, caplog):
    """Header with encoding, names, comments, tags, weights, quotes, escapes, several public rules."""
    path = saved(
        folder,
        """#JSGF V1.0 UTF-8 en;
        /** a
            comment */ grammar com.shop.orders; // and another
        public <order> = /10/ <g.thing> {drink = "tea"} | /1/ b [<VOID>] ;
        <thing> = "a a" \\a;
        public <other> = ba <NULL>;
        """,
    )
    texts = {"a a a", "b", "ba"}
    with caplog.at_level(logging.WARNING):
        found = decode(np.full((7, 4), -np.log(4)), AB, "beam", **UNLIMITED, grammar=path)
    assert {h.text for h in found} == texts
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: line 4: weights are ignored, all alternatives count alike"
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no sentence"),
        ("a\nab c\n", r"line 2: c cannot be written: the model does not have 'c' \(U\+0063\)"),
        ("#JSGF V2.0;\npublic <a> = a;", r"line 1: the header must be #JSGF V1\.0;"),
        ("#JSGF V1.0;\n<a> = a;", "has no public rule"),
        ("#JSGF V1.0;\ngrammar;", "line 2: ; stands where the name of the grammar is expected"),
        ("#JSGF V1.0;\ngrammar g\npublic <a> = a;", "line 3: public stands where ; is expected"),
        ("#JSGF V1.0;\nimport <x.*>;\n", "line 2: import is not supported"),
        ("#JSGF V1.0;\n\npublic <a> = <b>;", "line 3: there is no rule <b>"),
        ("#JSGF V1.0;\npublic <a> = a <b>;\n<b> = b\n | <a>;", "line 4: the rule <a> refers to itself"),
        ("#JSGF V1.0;\npublic <a> = a;\n<a> = b;", "line 3: the rule <a> is defined already"),
        ("#JSGF V1.0;\npublic <a> = (a | b;", r"line 2: ; stands where \) is expected"),
        ("#JSGF V1.0;\npublic <a> = a | ;", "line 2: ; stands where a word, a rule or a group is expected"),
        ("#JSGF V1.0;\npublic <a> = a\n", "line 2: the end of the file stands where ; is expected"),
        ("#JSGF V1.0;\npublic <a> = a } b;", r"line 2: \} stands where a word, a rule or one of"),
        (
            "#JSGF V1.0;\npublic a = a;",
            "line 2: a stands where a rule, such as public <name> = … is expected",
        ),
        ("#JSGF V1.0;\npublic <a> = a <VOID> | <NULL>;", "allows no sentence"),
        ("#JSGF V1.0;\npublic <a> = " + "(" * 9999 + "a" + ")" * 9999 + ";", "too deep in one another"),
    ],
)
def test_broken_grammars_are_named_with_the_line(folder, content, sentence):
    path = saved(folder, content)
    with pytest.raises(InputError, match=sentence) as caught:
        decode(spoken("ab", 0.9, " ab"), AB, "beam", grammar=path)
    assert str(caught.value).startswith(str(path))


def test_what_does_not_go_together_is_said(folder):
    path, two = saved(folder, "a\nb\n"), saved(folder, "a b\n")
    for options, sentence in (
        ({"grammar": path, "lexicon": path}, "not both"),
        ({"grammar": path, "lm": toy_lm("words"), "unknown": -1.0}, "no lexicon or grammar"),
        ({"grammar": path, "unlisted": -1.0}, "give a lexicon"),
        ({"grammar": folder / "none"}, "cannot be read as a grammar"),
    ):
        with pytest.raises(InputError, match=sentence):
            decode(spoken("ab", 0.9, " ab"), AB, "beam", **options)
    with pytest.raises(InputError, match="does not write spaces"):
        decode(spoken("ab", 0.9, "ab"), Alphabet("ab"), "beam", grammar=two)
    assert decode(spoken("ab", 0.9, "ab"), Alphabet("ab"), "beam", grammar=path)[0].text in ("a", "b")


def test_a_grammar_too_large_is_an_input_error(folder, monkeypatch):
    monkeypatch.setattr("carousel.common.decoding.grammar.MOST", 50)
    with pytest.raises(InputError, match="is too large"):
        constraints_of(AB, grammar=saved(folder, "a b a b a b\n" * 20))


HOSTILE = {
    "2^25 states of few": f"(a|b)* a {'(a|b) ' * 25}",
    "doubled 40 times": "<n40>",
    "nothing, doubled 40 times": "a <e40>",
    "options in a row": "[(a|b)*] " * 20_000,
    "repeats of repeats": "a" + "+" * 300_000,
}
DOUBLED = "".join(
    f"<{kind}{k}> = " + (f"<{kind}{k - 1}> <{kind}{k - 1}>;\n" if k else f"{base};\n")
    for kind, base in (("n", "a"), ("e", "<NULL>"))
    for k in range(41)
)


@pytest.mark.parametrize("name", HOSTILE)
def test_small_files_that_ask_for_too_much_are_refused_at_once(folder, name):
    """Minutes and gigabytes before. Processor time of this process, as the machine may be busy."""
    path = saved(folder, f"#JSGF V1.0;\n{DOUBLED}public <s> = {HOSTILE[name]};\n")
    started = time.process_time()
    with pytest.raises(InputError, match=r"jsgf: (is too large|has groups or rules too deep)"):
        constraints_of(AB, grammar=path)
    assert time.process_time() - started < 30


def test_a_loop_over_thousands_of_words_is_quick_and_small(folder):
    """The ends of all its words are one node: 5,000 times 5,000 arcs before."""
    words = ["".join("ab"[number >> bit & 1] for bit in range(13)) for number in range(5000)]
    path = saved(folder, f"#JSGF V1.0;\npublic <s> = ({' | '.join(words)})+;")
    started = time.process_time()
    nodes = constraints_of(AB, grammar=path).tables.lexicon_nodes
    assert time.process_time() - started < 20
    assert len(nodes) < 2.1 * len({word[:k] for word in words for k in range(14)})
    said = f"{words[77]} {words[4999]}"
    found = decode(spoken("-".join(said), 0.9, " ab"), AB, "beam", grammar=path)[0]
    assert found.text == said


def test_many_lines_are_read_in_a_time_that_grows_with_them(folder):
    """The number of a token's line was counted from the beginning each time."""
    path = saved(folder, "#JSGF V1.0;\npublic <s> = " + "a |\n" * 200_000 + " <none>;")
    started = time.process_time()
    with pytest.raises(InputError, match=r"line 200002: there is no rule <none>"):
        constraints_of(AB, grammar=path)
    assert time.process_time() - started < 30


def test_block_by_block_is_the_same_as_all_at_once(folder):
    log_probs = np.log(np.random.default_rng(3).dirichlet(np.ones(4), 12))
    path = saved(folder, "#JSGF V1.0; public <s> = (a | b | ab)+;")
    whole, parts = (
        beam_search.Search(Pruning(6, -8.0, 15.0), constraints_of(AB, grammar=path)) for _ in range(2)
    )
    whole.feed(log_probs)
    for block in np.split(log_probs, [1, 5, 6]):
        parts.feed(block)
    expected = whole.best(AB, 4)
    assert parts.best(AB, 4) == expected and len(expected) > 1
