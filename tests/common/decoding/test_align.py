import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from carousel.common.ctc.loss import _lattice, forced_align, frames_needed
from carousel.common.ctc.viterbi import best_path
from carousel.common.decoding.align import align, path_score, spell, words
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet
from tests.common.ctc.test_loss import LATTICES, lattice
from tests.oracles import ctc as oracle
from tests.torchaudio_guard import import_torchaudio

CAPITALS = Alphabet(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@settings(deadline=None)  # the first example compiles
@given(LATTICES, st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(1, 7))
def test_the_path_does_not_depend_on_how_many_frames_are_kept(log_probs, target, block):
    assume(max(target) < log_probs.shape[1] and len(log_probs) >= frames_needed(target))
    states, skips = _lattice(log_probs, target)
    path, score = best_path(log_probs, states, skips, block)
    assert score == pytest.approx(oracle.texts(log_probs)[tuple(target)].best)
    written = [int(states[state]) for state in path]
    assert oracle.collapse(written) == tuple(target)
    assert sum(log_probs[t, index] for t, index in enumerate(written)) == pytest.approx(score)


def whole_table(log_probs: np.ndarray, target: np.ndarray) -> list[int]:
    """The best path with a table of all moves, as a textbook has it."""
    states, skips = _lattice(log_probs, target)
    best = np.full(len(states) + 2, -np.inf)
    best[2] = 0.0
    moves = []
    for row in log_probs:
        choices = np.stack([best[2:], best[1:-1], best[:-2] + skips])
        moves.append(choices.argmax(axis=0))
        best[2:] = choices.max(axis=0) + row[states]
    state = len(states) - (1 if best[-1] >= best[-2] else 2)
    path = []
    for move in reversed(moves):
        path.append(state)
        state -= move[state]
    return path[::-1]


@pytest.mark.parametrize(("frames", "symbols"), [(1024, 300), (2500, 800), (2100, 2000)])
def test_long_inputs_have_the_path_of_the_whole_table(frames, symbols):
    log_probs = lattice(frames, frames, 30)
    target = np.random.default_rng(symbols).integers(1, 30, symbols)
    states, skips = _lattice(log_probs, target)
    assert best_path(log_probs, states, skips, 1024)[0].tolist() == whole_table(log_probs, target)


def test_torchaudio_finds_the_same_path():
    import torch

    torchaudio = import_torchaudio()

    try:
        torchaudio.functional.forced_align(torch.zeros(1, 2, 2).log_softmax(2), torch.ones(1, 1, dtype=int))
    except RuntimeError as error:
        pytest.skip(f"torchaudio's compiled part does not run here: {error}")
    for seed in range(20):
        log_probs, target = lattice(seed, 40, 6), np.random.default_rng(seed).integers(1, 6, 9)
        path, _ = torchaudio.functional.forced_align(
            torch.from_numpy(log_probs)[None], torch.from_numpy(target)[None]
        )
        own = oracle.path_of(target, [span[:2] for span in forced_align(log_probs, target)], 40)
        assert path[0].tolist() == list(own)


def test_a_letter_is_spelled_in_the_case_that_the_alphabet_has():
    spelling = spell("  Go  toß\n", CAPITALS)
    assert CAPITALS.decode(spelling.target) == "GO TOSS"
    assert "".join(text for text, _ in spelling.pieces) == "Go toß"
    assert Alphabet("Aa").decode(spell("aA", Alphabet("Aa")).target) == "aA"


def test_what_cannot_be_written_is_named_or_joins_its_neighbour():
    with pytest.raises(
        InputError, match=r"cannot write ',' \(U\+002C\), '¿' \(U\+00BF\) of the text"
    ) as stop:
        spell("¿to, go", CAPITALS, advice=", or leave it out")
    assert str(stop.value).endswith("spell it otherwise, or leave it out")
    spelling = spell("¿to, – go", CAPITALS, skip_unknown=True)
    assert [text for text, _ in spelling.pieces] == ["¿t", "o,", " ", "g", "o"]
    assert spelling.unknown == {"¿", ",", "–"}
    for text in ("", " \n", "–!"):
        with pytest.raises(InputError, match="nothing in it"):
            spell(text, CAPITALS, skip_unknown=True)


def test_an_alignment_has_the_users_text_at_the_best_path():
    log_probs = lattice(3, 40, len(CAPITALS))
    spelling = spell("Go toß", CAPITALS)
    found = align(log_probs, spelling)
    spans = forced_align(log_probs, spelling.target)
    assert found.text == "Go toß"
    assert [(s.start, s.end) for s in found.symbols[:5]] == [span[:2] for span in spans[:5]]
    assert (found.symbols[5].start, found.symbols[5].end) == (spans[5].start, spans[6].end)  # ß is SS
    assert found.symbols[5].confidence == min(spans[5].confidence, spans[6].confidence)
    path = oracle.path_of(spelling.target, [span[:2] for span in spans], 40)
    assert found.score == pytest.approx(sum(log_probs[t, i] for t, i in enumerate(path)))
    assert path_score(log_probs, spelling.target, spans) == found.score
    assert ["".join(s.text for s in word) for word in words(found.symbols)] == ["Go", "toß"]


def test_without_a_space_in_the_alphabet_words_follow_each_other():
    alphabet = Alphabet("ab")
    found = align(lattice(1, 12, 3), spell("ab a", alphabet))
    assert found.text == "ab a" and len(spell("ab a", alphabet).target) == 3
    assert found.symbols[1].end == found.symbols[2].start and found.symbols[2].end == found.symbols[3].start
