"""The text form: what is printed parses back to an equal graph, and what is no graph is refused with its line."""

from __future__ import annotations

import string
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexdsl.ir.graph import Graph, Launch, Op, Result
from alexdsl.ir.text import IRSyntaxError, parse_graph, print_attr, print_graph
from alexdsl.ir.types import ITEM_BYTES, TensorType
from alexdsl.passes.pipeline import Options, run_passes
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import NETS, REGISTRY, SPECS, bound

WORDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}(\.[a-z0-9_]{1,4})?", fullmatch=True)
TRICKY = st.sampled_from(
    [
        "none",
        "true",
        "inf",
        "nan",
        "inf-x",
        "nan.loss",
        "at",
        "graph",
        "1x",
        "a b",
        "   # c",
        '"',
        "\\",
        "\n",
        "é",
        "",
        "%a",
        "conv+relu",
        "-",
        "\u2028",
    ]
)
TEXTS = WORDS | TRICKY | st.text(max_size=8)
NUMBERS = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_subnormal=False)
ATTRS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(TEXTS.filter(lambda key: key != "stage"), ATTRS, max_size=3)
TYPES = st.builds(
    TensorType,
    st.sampled_from(sorted(ITEM_BYTES)),
    st.lists(st.integers(0, 2**40), max_size=4).map(tuple),
    st.sampled_from(["", "nhwc", "ohwi"]),
)
RESULTS = st.builds(Result, WORDS, st.none() | TYPES, st.none() | st.integers(0, 2**50))
LAUNCHES = st.builds(
    Launch,
    WORDS,
    st.lists(WORDS.map(lambda name: f"%{name}") | ATTRS.filter(lambda a: not str(a).startswith("%")), max_size=3).map(
        tuple
    ),
    MAPPINGS,
)
LAYERS = st.from_regex(r"[a-z][a-z0-9.]{0,6}", fullmatch=True) | st.just("")
LOCATIONS = st.sampled_from(["", "a.net:1:2", "my nets/a # b.net:3:44"])
OPS = st.builds(
    Op,
    WORDS | st.just("conv+relu"),
    st.lists(WORDS, max_size=3).map(tuple),
    st.lists(RESULTS, max_size=3).map(tuple),
    MAPPINGS,
    st.none() | st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True),
    LAYERS,
    LOCATIONS,
    st.lists(LAUNCHES, max_size=2).map(tuple),
)
SOURCES = st.lists(st.text(string.printable.replace("\n", ""), max_size=9), min_size=0, max_size=4)
GRAPHS = st.builds(
    Graph,
    TEXTS,
    st.sampled_from(["parsed", "laid-out", "program"]),
    st.lists(OPS, max_size=3).map(tuple),
    st.dictionaries(TEXTS, WORDS, max_size=2),
    MAPPINGS,
    st.dictionaries(WORDS, SOURCES.map(lambda lines: "".join(f"{line}\n" for line in lines) or "\n"), max_size=2),
)


@settings(max_examples=400)
@given(GRAPHS)
def test_any_graph_prints_and_parses_back(graph: Graph) -> None:
    text = print_graph(graph)
    again = parse_graph(text)
    assert again == graph
    assert print_graph(again) == text


@settings(max_examples=200)
@given(GRAPHS, st.data())
def test_damaged_text_is_refused_or_means_something(graph: Graph, data: st.DataObject) -> None:
    text = print_graph(graph)
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.sampled_from(["", "]", "{", '"', "%", "@", "9", "=", "\n"])) + text[at + 1 :]
    with suppress(IRSyntaxError):
        parse_graph(damaged)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
@pytest.mark.parametrize("mode", ["train", "predict"])
def test_every_stage_of_the_specs_parses_back(path: Any, mode: str) -> None:
    graph = bound(path.read_text(encoding="utf-8"), path.name)
    for name, stage in run_passes(graph, Options(REGISTRY, ExampleBackend(), mode)):
        assert parse_graph(print_graph(stage)) == stage, name


@pytest.mark.parametrize("net", NETS)
def test_every_stage_of_small_nets_parses_back(net: str) -> None:
    for name, stage in run_passes(bound(NETS[net]), Options(REGISTRY, ExampleBackend(), "train", save="recompute")):
        assert parse_graph(print_graph(stage)) == stage, name


HEAD = "graph g {stage=parsed}\n"
MALFORMED = {
    "nothing": ("", "line 1: the text ends too soon"),
    "no return": (HEAD, "line 2: the text ends too soon"),
    "no head": ("  return\n", "line 1: a text holds one graph"),
    "two heads": (HEAD * 2, "line 2: a text holds one graph"),
    "no stage": ("graph g {}\n  return\n", "line 1: the graph's stage is missing"),
    "stage is a number": ("graph g {stage=3}\n  return\n", "line 1: the graph's stage is missing"),
    "attributes are a list": ("graph g [1]\n", "line 1: expected '{'"),
    "after the end": (HEAD + "  return\n  %a = input()\n", "line 3: only kernels follow"),
    "launch alone": (HEAD + "    launch k()\n", "line 2: a launch without an op"),
    "no name": (HEAD + "  = input()\n", "line 2: expected a value, found '='"),
    "no percent": (HEAD + "  a = input()\n", "line 2: expected a value, found 'a'"),
    "no kind": (HEAD + "  %a = ()\n", "line 2: expected a word, found '('"),
    "open operands": (HEAD + "  %a = add(%b, %c\n", "line 2: the line ends too soon"),
    "bare operand": (HEAD + "  %a = add(b)\n", "line 2: expected a value, found 'b'"),
    "unknown type": (HEAD + "  %a : f16[2] = input()\n", "line 2: unknown element type 'f16'"),
    "fraction of a row": (HEAD + "  %a : f32[1.5] = input()\n", "line 2: expected a whole number, found '1.5'"),
    "sizes without commas": (HEAD + "  %a : f32[1 2] = input()\n", "line 2: expected ','"),
    "offset": (HEAD + "  %a : f32[1] at x = input()\n", "line 2: expected a number, found 'x'"),
    "twice": (HEAD + "  %a = input() {b=1, b=2}\n", "line 2: 'b' is given twice"),
    "no value": (HEAD + "  %a = input() {b=}\n", "line 2: expected a value, found '}'"),
    "more": (HEAD + "  %a = input() {b=1} 3\n", "line 2: unexpected '3'"),
    "open string": (HEAD + '  %a = input() {b="c}\n', "line 2: unexpected '\"c}'"),
    "bad escape": (HEAD + '  %a = input() {b="\\q"}\n', 'line 2: "\\q" is not a string'),
    "strange": (HEAD + "  %a = input() {b=$}\n", "line 2: unexpected '$}'"),
    "deep": (HEAD + "  %a = input() {b=" + "[" * 5000 + "\n", "line 2: lists and mappings lie more than 32 deep"),
    "long": (HEAD + "  %a = input() {b=" + "9" * 5000 + "}\n", "line 2: expected a whole number"),
    "output": (HEAD + "  return loss=3\n", "line 2: expected a value, found '3'"),
    "outputs": (HEAD + "  return a=%b c=%d\n", "line 2: expected ','"),
    "two kernels": (HEAD + "  return\nkernel k\n  | x\nkernel k\n", "line 5: kernel 'k' is given twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_text_is_answered_with_its_line(case: str) -> None:
    text, message = MALFORMED[case]
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [[1], {1, 2}, object(), {3: 4}])
def test_what_is_no_attribute_is_not_printed(value: Any) -> None:
    with pytest.raises(TypeError):
        print_attr(value)


def test_a_source_ends_with_a_newline() -> None:
    with pytest.raises(ValueError, match="does not end with a newline"):
        print_graph(Graph("g", "program", (), kernels={"k": "x = 1"}))


def test_values_keep_their_types() -> None:
    graph = Graph("g", "parsed", (), attrs={"a": 1, "b": 1.0, "c": True, "d": "1", "e": None, "f": "none"})
    again = parse_graph(print_graph(graph))
    assert {k: type(v) for k, v in again.attrs.items()} == {k: type(v) for k, v in graph.attrs.items()}
