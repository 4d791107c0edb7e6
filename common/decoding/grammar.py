"""A small set of sentences as the only texts: an automaton over words, compiled to a lexicon tree.

A file is a plain list, one sentence a line, or JSGF (common.decoding.jsgf). Its words become the arcs of a
non-deterministic automaton (Thompson 1968), that a deterministic one by sets of states (Rabin & Scott 1959),
and each state of this a tree of the words that may come next, spelled out. So a search can only follow what
some allowed sentence begins with. How large the first becomes is known before it is made, and the second is
given up where it grows out of hand, as it can (2^n states of n) with a file of few lines.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from carousel.common.decoding import jsgf
from carousel.common.decoding.compiled.lexicon_tree import LexiconTree, lexicon_tree_of
from carousel.common.decoding.compiled.prefix_tree import NONE
from carousel.common.decoding.compiled.scoring import BETWEEN
from carousel.common.decoding.jsgf import Expression
from carousel.common.errors import InputError
from carousel.common.language.ngram import UNKNOWN_ID
from carousel.common.text.alphabet import Alphabet, name_symbols
from carousel.common.text.lines import Listed, read_lines

MOST = 1_000_000  # states or nodes of a grammar: some seconds, and some hundred megabytes
WORK = 1_000_000, 4  # arcs, and states looked at, of the deterministic automaton: so many, and for each state


class Automaton:
    """States with arcs by words, and arcs that read nothing. Nothing leads to state 0, the start."""

    def __init__(self, path: Path | Listed) -> None:
        self.path = path
        self.arcs: list[list[tuple[str, int]]] = [[]]
        self.free: list[list[int]] = [[]]
        self.work = 0

    def add(self) -> int:
        self.arcs.append([])
        self.free.append([])
        return len(self.arcs) - 1

    def closed(self, state: int, final: int) -> frozenset[int]:
        """Of a state and those that are reached from it without a word, the ones that matter: where a word
        goes on, or a sentence ends."""
        found, todo = {state}, [state]
        while todo:
            fresh = [state for state in self.free[todo.pop()] if state not in found]
            found.update(fresh)
            todo += fresh
        self.spend(len(found))
        return frozenset(state for state in found if self.arcs[state] or state == final)

    def spend(self, work: int) -> None:
        """Raises InputError where making the automaton deterministic takes too much."""
        self.work += work
        if self.work > WORK[0] + WORK[1] * len(self.arcs):
            raise too_large(self.path)

    def skipped(self, state: int, final: int) -> int:
        """The first state from one on from where there is more than one way: so the ends of all words of a
        loop are one."""
        while state != final and not self.arcs[state] and len(self.free[state]) == 1:
            state = self.free[state][0]
        return state


Step = dict[str, int]  # word -> state


def load(alphabet: Alphabet, path: Path | Listed, index: Mapping[str, int]) -> LexiconTree:
    """The nodes of a grammar's sentences; index: the language model's tokens of words.

    Raises InputError, with the line where there is one, for a file that is no grammar, or has words that the
    alphabet cannot write.
    """
    automaton = Automaton(path)
    try:
        rules, public = read(path)
        anything = Expression("alternatives", 1, parts=tuple(Expression("rule", 1, name) for name in public))
        if size(anything, rules, path, {}) > MOST:
            raise too_large(path)
        words = functools.cache(lambda text: _words(alphabet, text))
        final = compile_into(automaton, anything, 0, rules, words)
    except RecursionError:
        raise InputError(f"{path}: has groups or rules too deep in one another; make it simpler") from None
    steps, ends = determined(automaton, final)
    if not any(steps):
        raise InputError(f"{path}: allows no sentence; check its public rules")
    if alphabet.unknown(" ") and any(steps[state] for step in steps for state in step.values()):
        raise InputError(f"{path}: has sentences of several words, and the model does not write spaces")
    return spelled(alphabet, steps, ends, index, path)


def read(path: Path | Listed) -> tuple[jsgf.Rules, list[str]]:
    """The rules of a file, and which are public; a plain list is one rule."""
    lines = read_lines(path, "grammar")
    if isinstance(path, Listed):  # of texts, in which # is a character
        texts = tuple(Expression("words", number, line) for number, line in lines)
        return {"sentence": Expression("alternatives", 1, parts=texts)}, ["sentence"]
    text = "\n".join(line for _, line in lines)
    if text.startswith("#JSGF"):
        return jsgf.parse(text, path)
    sentences = [Expression("words", number, line.split("#")[0]) for number, line in lines]
    sentences = [sentence for sentence in sentences if sentence.text.strip()]
    if not sentences:
        raise InputError(f"{path}: has no sentence; give one a line, or JSGF with its header #JSGF V1.0;")
    return {"sentence": Expression("alternatives", 1, parts=tuple(sentences))}, ["sentence"]


def too_large(path: Path | Listed) -> InputError:
    return InputError(f"{path}: is too large, with more than {MOST:,} states; allow less")


def size(
    expression: Expression,
    rules: jsgf.Rules,
    path: Path | Listed,
    known: dict[str, int],
    within: tuple[str, ...] = (),
) -> int:
    """States that an expression takes, or more. known: of the rules that were counted; within: those around
    it. Raises InputError for rules that do not exist, and for those that refer to themselves."""
    kind, line, text, parts = expression
    if kind == "words":
        return text.count(" ") + 1
    if kind == "rule" and text not in known:
        if text in within:
            raise InputError(
                f"{path}: line {line}: the rule <{text}> refers to itself; say it with * or + instead"
            )
        if text not in rules and text not in (jsgf.NULL, jsgf.VOID):
            raise InputError(f"{path}: line {line}: there is no rule <{text}>")
        inside = rules.get(text, Expression("sequence", line))
        known[text] = size(inside, rules, path, known, (*within, text))
    if kind == "rule":
        return known[text] + 1
    return 1 + sum(size(part, rules, path, known, within) + 1 for part in parts)


def compile_into(
    automaton: Automaton,
    expression: Expression,
    start: int,
    rules: jsgf.Rules,
    words: Callable[[str], list[str]],
) -> int:
    """Adds an expression that begins in a state; returns the state where it ends. words: of a text; what it
    raises gets the file and the line."""
    kind, line, text, parts = expression
    if kind == "words":
        try:
            found = words(text)
        except InputError as error:
            raise InputError(f"{automaton.path}: line {line}: {error}") from None
        for word in found:
            end = automaton.add()
            automaton.arcs[start].append((word, end))
            start = end
        return start
    if kind == "sequence":
        for part in parts:
            start = compile_into(automaton, part, start, rules, words)
        return start
    if kind == "rule" and text != jsgf.VOID:
        return start if text == jsgf.NULL else compile_into(automaton, rules[text], start, rules, words)
    end = automaton.add()
    for part in parts:
        begin = automaton.add()  # of its own, so that what is repeated does not repeat what stands before it
        automaton.free[start].append(begin)
        last = compile_into(automaton, part, begin, rules, words)
        automaton.free[last].append(end)
        if kind == "repeated":
            automaton.free[last].append(begin)
    return end


def _words(alphabet: Alphabet, text: str) -> list[str]:
    """The words of a text in the case of the alphabet. Raises InputError for one that cannot be written."""
    words = alphabet.cased(text).split()
    for word in words:
        if unknown := alphabet.unknown(word):
            raise InputError(f"{word} cannot be written: the model does not have {name_symbols(unknown)}")
    return words


def determined(automaton: Automaton, final: int) -> tuple[list[Step], list[bool]]:
    """Of each state of the deterministic automaton its arcs, and whether a sentence may end there.

    State 0 is the start. Arcs that no sentence can follow to its end are left out.
    """
    closed = functools.cache(lambda state: automaton.closed(state, final))
    united = functools.cache(lambda some: frozenset[int]().union(*map(closed, some)))
    number: dict[frozenset[int], int] = {}  # of all but the start, to which nothing leads
    steps: list[Step] = []
    queue = [closed(0)]
    for states in queue:
        targets: dict[str, set[int]] = {}
        for state in states:
            for word, target in automaton.arcs[state]:
                targets.setdefault(word, set()).add(automaton.skipped(target, final))
        step = {}
        for word, reached in targets.items():
            whole = united(frozenset(reached))
            if whole not in number:
                number[whole] = len(queue)
                queue.append(whole)
            step[word] = number[whole]
        steps.append(step)
        automaton.spend(len(states) + len(step))
    ends = [final in states for states in queue]
    alive = _alive(steps, ends)
    return [{word: to for word, to in step.items() if alive[to]} for step in steps], ends


def _alive(steps: list[Step], ends: list[bool]) -> list[bool]:
    """Whether some end can be reached from each state."""
    before: list[list[int]] = [[] for _ in steps]
    for state, step in enumerate(steps):
        for target in step.values():
            before[target].append(state)
    alive = list(ends)
    todo = [state for state, end in enumerate(ends) if end]
    while todo:
        fresh = [state for state in before[todo.pop()] if not alive[state]]
        for state in fresh:
            alive[state] = True
        todo += fresh
    return alive


def spelled(
    alphabet: Alphabet, steps: list[Step], ends: list[bool], index: Mapping[str, int], path: Path | Listed
) -> LexiconTree:
    """The nodes of all sentences: for each state its words, with one space between them and none around."""
    children: list[dict[int, int]] = [{} for _ in steps]  # the nodes of the states come first
    tokens, after = [BETWEEN] * len(steps), [NONE] * len(steps)
    costs = [0.0] * len(steps)
    end = [0.0 if ends[0] else -math.inf, *[-math.inf] * (len(steps) - 1)]  # no sentence ends with a space
    for state, step in enumerate(steps):
        for word, target in step.items():
            at = state
            for symbol in alphabet.encode(word):
                if symbol not in children[at]:
                    children[at][symbol] = len(children)
                    children.append({})
                    tokens.append(UNKNOWN_ID)
                    costs.append(-math.inf)
                    after.append(NONE)
                    end.append(-math.inf)
                at = children[at][symbol]
            tokens[at], costs[at] = index.get(word, UNKNOWN_ID), 0.0
            after[at] = target if steps[target] else NONE
            end[at] = 0.0 if ends[target] else -math.inf
        if len(children) > MOST:
            raise InputError(f"{path}: is too large, with more than {MOST:,} nodes; allow less")
    return lexicon_tree_of([sorted(child.items()) for child in children], tokens, after, costs, end)
