"""A small set of sentences as the only texts: compiled to an automaton over words, and that to places.

A file is a plain list, one sentence a line, or JSGF (common.decoding.jsgf). Its words become the arcs of a
non-deterministic automaton (Thompson 1968), that a deterministic one by sets of states (Rabin & Scott 1959),
and each state of this a tree of the words that may come next, spelled out. So a search can only follow what
some allowed sentence begins with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from common.alphabet import Alphabet, name_symbols
from common.decoding import jsgf
from common.decoding.gains import BETWEEN
from common.decoding.jsgf import Expression
from common.decoding.lines import read_lines
from common.decoding.ngram import UNKNOWN_ID
from common.decoding.places import Places, places_of
from common.decoding.tree import NONE
from common.errors import InputError

MOST = 1_000_000  # states or places of a grammar


class Automaton:
    """States with arcs by words, and arcs that read nothing. Nothing leads to state 0, the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arcs: list[list[tuple[str, int]]] = [[]]
        self.free: list[list[int]] = [[]]

    def add(self) -> int:
        if len(self.arcs) >= MOST:
            raise InputError(f"{self.path}: is too large, with more than {MOST:,} states; allow less")
        self.arcs.append([])
        self.free.append([])
        return len(self.arcs) - 1

    def closed(self, states: list[int]) -> frozenset[int]:
        """States and those that are reached from them without a word."""
        found, todo = set(states), list(states)
        while todo:
            fresh = [state for state in self.free[todo.pop()] if state not in found]
            found.update(fresh)
            todo += fresh
        return frozenset(found)


Step = dict[str, int]  # word -> state


def load(alphabet: Alphabet, path: Path, index: Mapping[str, int]) -> Places:
    """The places of a grammar's sentences; index: the language model's tokens of words.

    Raises InputError, with the line where there is one, for a file that is no grammar, or has words that the
    alphabet cannot write.
    """
    automaton = Automaton(path)
    try:
        rules, public = read(path)
        anything = Expression("alternatives", 1, parts=tuple(Expression("rule", 1, name) for name in public))
        final = compile_into(automaton, anything, 0, rules, alphabet)
    except RecursionError:
        raise InputError(f"{path}: has groups or rules too deep in one another; make it simpler") from None
    steps, ends = determined(automaton, final)
    if not any(steps):
        raise InputError(f"{path}: allows no sentence; check its public rules")
    if alphabet.unknown(" ") and any(steps[state] for step in steps for state in step.values()):
        raise InputError(f"{path}: has sentences of several words, and the model does not write spaces")
    return spelled(alphabet, steps, ends, index, path)


def read(path: Path) -> tuple[jsgf.Rules, list[str]]:
    """The rules of a file, and which are public; a plain list is one rule."""
    lines = read_lines(path, "grammar")
    text = "\n".join(line for _, line in lines)
    if text.startswith("#JSGF"):
        return jsgf.parse(text, path)
    sentences = [Expression("words", number, line.split("#")[0]) for number, line in lines]
    sentences = [sentence for sentence in sentences if sentence.text.strip()]
    if not sentences:
        raise InputError(f"{path}: has no sentence; give one a line, or JSGF with its header #JSGF V1.0;")
    return {"sentence": Expression("alternatives", 1, parts=tuple(sentences))}, ["sentence"]


def compile_into(
    automaton: Automaton,
    expression: Expression,
    start: int,
    rules: jsgf.Rules,
    alphabet: Alphabet,
    within: tuple[str, ...] = (),
) -> int:
    """Adds an expression that begins in a state; returns the state where it ends. within: rules around it."""
    kind, line, text, parts = expression

    def add(part: Expression, at: int, inside: tuple[str, ...] = within) -> int:
        return compile_into(automaton, part, at, rules, alphabet, inside)

    if kind == "words":
        for word in alphabet.cased(text).split():
            if unknown := alphabet.unknown(word):
                raise InputError(
                    f"{automaton.path}: line {line}: {word} cannot be written: "
                    f"the model does not have {name_symbols(unknown)}"
                )
            end = automaton.add()
            automaton.arcs[start].append((word, end))
            start = end
        return start
    if kind == "sequence":
        for part in parts:
            start = add(part, start)
        return start
    if kind == "rule":
        if text == jsgf.NULL:
            return start
        return add(_rule(automaton.path, expression, rules, within), start, (*within, text))
    end = automaton.add()
    for part in parts:
        begin = automaton.add()  # of its own, so that what is repeated does not repeat what stands before it
        automaton.free[start].append(begin)
        last = add(part, begin)
        automaton.free[last].append(end)
        if kind == "repeated":
            automaton.free[last].append(begin)
    return end


def _rule(path: Path, reference: Expression, rules: jsgf.Rules, within: tuple[str, ...]) -> Expression:
    name = reference.text
    if name == jsgf.VOID:
        return Expression("alternatives", reference.line)
    if name in within:
        raise InputError(
            f"{path}: line {reference.line}: the rule <{name}> refers to itself; say it with * or + instead"
        )
    if name not in rules:
        raise InputError(f"{path}: line {reference.line}: there is no rule <{name}>")
    return rules[name]


def determined(automaton: Automaton, final: int) -> tuple[list[Step], list[bool]]:
    """Of each state of the deterministic automaton its arcs, and whether a sentence may end there.

    State 0 is the start. Arcs that no sentence can follow to its end are left out.
    """
    first = automaton.closed([0])
    number = {first: 0}
    steps: list[Step] = []
    queue = [first]
    for states in queue:
        targets: dict[str, list[int]] = {}
        for state in states:
            for word, target in automaton.arcs[state]:
                targets.setdefault(word, []).append(target)
        step = {word: automaton.closed(reached) for word, reached in targets.items()}
        for reached in step.values():
            if reached not in number:
                number[reached] = len(queue)
                queue.append(reached)
        if len(queue) > MOST:
            raise InputError(f"{automaton.path}: is too large, with more than {MOST:,} states; allow less")
        steps.append({word: number[reached] for word, reached in step.items()})
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
    alphabet: Alphabet, steps: list[Step], ends: list[bool], index: Mapping[str, int], path: Path
) -> Places:
    """The places of all sentences: for each state its words, with one space between them and none around."""
    children: list[dict[int, int]] = [{} for _ in steps]  # the places of the states come first
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
            raise InputError(f"{path}: is too large, with more than {MOST:,} places; allow less")
    return places_of([sorted(child.items()) for child in children], tokens, after, costs, end)
