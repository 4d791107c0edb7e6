"""Grammars in the Java Speech Grammar Format (JSGF 1.0, Sun 1998), read into expressions.

What can be compiled to a finite automaton is read: words, "quoted words", rules, sequences, alternatives,
groups ( ), options [ ], * and +, <NULL> and <VOID>. Weights /2.5/ are ignored with a warning, tags {…}
without, as they say nothing of the text. Imports and rules that refer to themselves are errors.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from pathlib import Path
from typing import NamedTuple

from carousel.common.errors import InputError

log = logging.getLogger(__name__)


class Expression(NamedTuple):
    """kind: "words" (text), "sequence" or "alternatives" (of parts), "repeated" (its one part, once or more),
    "rule" (text: its name)."""

    kind: str
    line: int
    text: str = ""
    parts: tuple[Expression, ...] = ()


class Token(NamedTuple):
    kind: str
    text: str
    line: int


Rules = dict[str, Expression]

HEADER = re.compile(r"#JSGF\s+V1\.0\b[^;\n]*;")
TOKENS = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<tag>\{(?:\\.|[^\\}])*\})
    | (?P<weight>/\s*[\d.]+(?:[eE][-+]?\d+)?\s*/)
    | <(?P<rule>[^<>\s]+)>
    | "(?P<quoted>(?:\\.|[^"\\])*)"
    | (?P<mark>[;=|*+()\[\]])
    | (?P<word>(?:\\.|[^\s;=|*+<>()\[\]{}/"\\])+)
    | (?P<wrong>\S)""",
    re.VERBOSE | re.DOTALL,
)
NULL, VOID = "NULL", "VOID"  # rules that JSGF defines: nothing at all, and what nobody can say


def parse(text: str, path: Path) -> tuple[Rules, list[str]]:
    """The rules of a grammar by their names, and which of them are public.

    Raises InputError with the file and the line of what is no JSGF, or not of the part that is read.
    """
    tokens = deque(_tokens(text, path))
    rules: Rules = {}
    public: list[str] = []
    if _is(tokens[0], "word", "grammar"):
        tokens.popleft()
        if tokens[0].kind != "word":
            raise _wrong(path, tokens[0], "the name of the grammar")
        tokens.popleft()
        _expect(tokens, ";", path)
    while tokens[0].kind != "end":
        if _is(tokens[0], "word", "import"):
            raise InputError(
                f"{path}: line {tokens[0].line}: import is not supported; copy the rules into the file"
            )
        is_public = _is(tokens[0], "word", "public")
        if is_public:
            tokens.popleft()
        name = tokens.popleft()
        if name.kind != "rule":
            raise _wrong(path, name, "a rule, such as public <name> = …")
        if name.text in rules or name.text in (NULL, VOID):
            raise InputError(f"{path}: line {name.line}: the rule <{name.text}> is defined already")
        _expect(tokens, "=", path)
        rules[name.text] = _alternatives(tokens, path)
        _expect(tokens, ";", path)
        public += [name.text] * is_public
    if not public:
        raise InputError(f"{path}: has no public rule, so nothing may be said; write public <name> = …")
    return rules, public


def _tokens(text: str, path: Path) -> list[Token]:
    header = HEADER.match(text)
    if header is None:
        raise InputError(f"{path}: line 1: the header must be #JSGF V1.0;")
    tokens, weights = [], []
    line, counted = 1, 0
    for match in TOKENS.finditer(text, header.end()):
        kind = match.lastgroup or ""
        line, counted = line + text.count("\n", counted, match.start()), match.start()
        token = Token(kind, match[kind], line)
        if kind == "wrong":
            raise _wrong(path, token, "a word, a rule or one of ( ) [ ] | * + ;")
        if kind in ("quoted", "word"):
            token = token._replace(text=re.sub(r"\\(.)", r"\1", token.text))
        elif kind == "rule":
            token = token._replace(text=token.text.rsplit(".", 1)[-1])  # without the grammar's name
        if kind == "weight":
            weights.append(token)
        elif kind not in ("comment", "tag"):
            tokens.append(token)
    if weights:
        log.warning(f"{path}: line {weights[0].line}: weights are ignored, all alternatives count alike")
    return [*tokens, Token("end", "the end of the file", text.count("\n") + 1)]


def _is(token: Token, kind: str, text: str) -> bool:
    return token.kind == kind and token.text == text


def _wrong(path: Path, token: Token, wanted: str) -> InputError:
    return InputError(f"{path}: line {token.line}: {token.text} stands where {wanted} is expected")


def _expect(tokens: deque[Token], mark: str, path: Path) -> None:
    if not _is(tokens[0], "mark", mark):
        raise _wrong(path, tokens[0], mark)
    tokens.popleft()


def _alternatives(tokens: deque[Token], path: Path) -> Expression:
    line = tokens[0].line
    found = [_sequence(tokens, path)]
    while _is(tokens[0], "mark", "|"):
        tokens.popleft()
        found.append(_sequence(tokens, path))
    return found[0] if len(found) == 1 else Expression("alternatives", line, parts=tuple(found))


def _sequence(tokens: deque[Token], path: Path) -> Expression:
    line = tokens[0].line
    parts = []
    while tokens[0].kind in ("word", "quoted", "rule") or tokens[0].text in ("(", "["):
        parts.append(_repeated(_item(tokens, path), tokens))
    if not parts:
        raise _wrong(path, tokens[0], "a word, a rule or a group")
    return parts[0] if len(parts) == 1 else Expression("sequence", line, parts=tuple(parts))


def _item(tokens: deque[Token], path: Path) -> Expression:
    token = tokens.popleft()
    if token.kind == "rule":
        return Expression("rule", token.line, token.text)
    if token.kind in ("word", "quoted"):
        return Expression("words", token.line, token.text)
    inner = _alternatives(tokens, path)
    _expect(tokens, ")" if token.text == "(" else "]", path)
    return inner if token.text == "(" else _maybe(inner)


def _repeated(item: Expression, tokens: deque[Token]) -> Expression:
    while tokens[0].kind == "mark" and tokens[0].text in "*+":
        mark = tokens.popleft().text
        item = Expression("repeated", item.line, parts=(item,))
        if mark == "*":
            item = _maybe(item)
    return item


def _maybe(item: Expression) -> Expression:
    return Expression("alternatives", item.line, parts=(item, Expression("sequence", item.line)))
