"""Random syntax trees, as any text could give them, for hypothesis."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from alexdsl.language import Source
from alexdsl.language import syntax as s
from alexdsl.language.words import KEYWORDS

LETTERS = string.ascii_letters + "_"

words = st.text(LETTERS + string.digits, min_size=1, max_size=6).filter(lambda w: w[0] in LETTERS)
plain = words.filter(lambda w: w not in KEYWORDS)
"""Names that may begin a statement."""
dotted = st.lists(st.text(LETTERS + string.digits, min_size=1, max_size=3), max_size=2).flatmap(
    lambda rest: plain.map(lambda first: ".".join([first, *rest]))
)
labels = st.builds(lambda a, b: a + b, words, st.sampled_from(["", "-a", "-16b", "-2-x"]))

numbers = st.builds(
    s.Number,
    st.integers(0, 10**18 - 1) | st.floats(0, 1e300, allow_nan=False).map(abs),
    st.sampled_from(["", "%", "x"]),
)
strings = st.builds(
    s.String, st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]) | st.sampled_from('\n\t"\\'))
)
names = st.builds(s.Name, dotted)
ranges = st.builds(s.Range, dotted, dotted)


def _calls(values: st.SearchStrategy[Any]) -> st.SearchStrategy[s.Call]:
    args = st.builds(s.Arg, st.none() | words, values)
    return st.builds(s.Call, dotted, st.lists(args, max_size=3).map(tuple))


def _chains(steps: st.SearchStrategy[Any]) -> st.SearchStrategy[s.Chain]:
    return st.builds(s.Chain, st.lists(steps, min_size=2, max_size=4).map(tuple))


def _composite(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    steps = names | _calls(values)
    operands = values.filter(lambda value: not isinstance(value, s.Chain))
    return st.one_of(
        _calls(values),
        _chains(steps),
        st.builds(s.List, st.lists(values, max_size=3).map(tuple)),
        st.builds(s.Binary, st.sampled_from(["+", "-", "*", "/"]), operands, operands),
        st.builds(s.Negate, operands),
    )


# Deferred, so that hypothesis does not write out all of them wherever one is named.
_leaves = numbers | strings | names | ranges
_expressions = st.recursive(_leaves, _composite, max_leaves=5)
expressions: st.SearchStrategy[Any] = st.deferred(lambda: _expressions)
sums = expressions.filter(lambda value: not isinstance(value, s.Chain))
steps = st.one_of(names, _calls(expressions))

settings = st.lists(st.builds(s.Setting, words, expressions), max_size=3).map(tuple)
_named = names | ranges
named: st.SearchStrategy[Any] = st.deferred(lambda: _named)
several = st.lists(named, min_size=2, max_size=3).map(lambda items: s.List(tuple(items)))
team = st.lists(named, min_size=1, max_size=3).map(lambda items: s.List(tuple(items)))
_teams = st.lists(named | team, min_size=1, max_size=3).filter(
    lambda items: len(items) > 1 or isinstance(items[0], s.List)
)
teams = _teams.map(lambda items: s.List(tuple(items)))

simple = st.one_of(
    st.builds(s.Include, strings),
    st.builds(s.Const, words, expressions),
    st.builds(s.Input, words, st.builds(s.List, st.lists(expressions, max_size=3).map(tuple))),
    st.builds(s.Assign, plain, expressions.filter(lambda v: not (isinstance(v, s.Name) and v.id == "repeat"))),
    st.builds(s.ChainStatement, steps | _chains(steps)),
    st.builds(s.Default, st.lists(words, min_size=1, max_size=3).map(tuple), settings),
    st.builds(s.Place, named | several, st.none() | words, st.sampled_from(["over", "on"]), named | teams),
    st.builds(s.Report, st.lists(expressions, min_size=1, max_size=3).map(tuple)),
)


def _blocks(statements: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    bodies = st.lists(statements, max_size=4).map(tuple)
    params = st.lists(st.builds(s.Param, words, st.none() | expressions), max_size=3).map(tuple)
    return st.one_of(
        st.builds(s.Def, words, params, bodies),
        st.builds(s.Group, words, sums, bodies),
        st.builds(s.RepeatStatement, st.none() | plain, sums, bodies),
    )


_statements = st.recursive(simple, _blocks, max_leaves=4)
statements: st.SearchStrategy[Any] = st.deferred(lambda: _statements)
solver_blocks = st.builds(s.SolverBlock, st.lists(named, min_size=1, max_size=3).map(tuple), settings)
top = st.one_of(
    statements,
    st.builds(s.Net, labels),
    st.builds(s.Data, labels, settings),
    st.builds(s.Solver, words, settings, st.lists(solver_blocks, max_size=3).map(tuple)),
)
files = st.builds(
    lambda language, rest: s.File(Source("random.net", ""), (*language, *rest)),
    st.sampled_from([(), (s.Language(1),)]),
    st.lists(top, max_size=4),
)
