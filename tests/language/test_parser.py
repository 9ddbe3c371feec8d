"""What the parser makes of specs that are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexdsl.language import Source, SpecError, parse, parse_expression, read_source
from alexdsl.language.syntax import (
    Arg,
    Assign,
    Binary,
    Call,
    Chain,
    ChainStatement,
    Data,
    Def,
    Default,
    Expr,
    Group,
    Include,
    Input,
    Language,
    List,
    Name,
    Negate,
    Net,
    Number,
    Param,
    Place,
    Range,
    RepeatStatement,
    Report,
    Setting,
    Solver,
    SolverBlock,
    Stmt,
    String,
    walk,
)

SAMPLES = Path(__file__).parent / "samples"


def one(text: str) -> Stmt:
    (statement,) = parse(Source("a.net", text)).statements
    return statement


def test_alexnet() -> None:
    source = Source("specs/alexnet.net", (SAMPLES / "alexnet.net").read_text())
    net, data, default, image, group, fc8, loss, report, place, solver = parse(source).statements
    assert net == Net("alexnet")
    assert isinstance(data, Data)
    assert [setting.name for setting in data.settings] == ["source", "resize", "crop", "augment", "batch"]
    assert default == Default(
        ("conv", "linear"),
        (Setting("weight", Call("normal", (Arg(None, Number(0.01)),))), Setting("bias", Number(0))),
    )
    assert image == Input("image", List((Number(3), Name("data.crop"), Name("data.crop"))))
    assert isinstance(group, Group)
    assert (group.name, group.towers, len(group.body)) == ("tower", Number(2), 7)
    conv1 = group.body[0]
    assert isinstance(conv1, Assign)
    assert isinstance(conv1.value, Chain)
    assert conv1.value.steps[0] == Call(
        "conv", (Arg(None, Number(96)), Arg("kernel", Number(11)), Arg("stride", Number(4)))
    )
    assert conv1.value.steps[1:3] == (Name("relu"), Name("lrn"))
    assert fc8 == Assign("fc8", Call("linear", (Arg(None, Name("data.classes")),)))
    assert isinstance(loss, Assign)
    assert report == Report(tuple(Call(kind, (Arg(None, Name("fc8")),)) for kind in ("top1", "top5")))
    assert place == Place(Name("tower"), None, "over", List((Name("gpu0"), Name("gpu1"))))
    assert isinstance(solver, Solver)
    assert solver.kind == "sgd"
    assert solver.blocks == (
        SolverBlock((Name("bias"),), (Setting("lr", Number(2, "x")), Setting("decay", Number(0)))),
    )


def test_spans() -> None:
    source = Source("specs/alexnet.net", (SAMPLES / "alexnet.net").read_text())
    file = parse(source)
    calls = [node for node in walk(file) if isinstance(node, Call) and node.name == "conv"]
    assert str(calls[0].span) == "alexnet.net:17:13"
    assert calls[0].span.text == "conv(96, kernel=11, stride=4)"
    assert calls[0].name_span.text == "conv"
    group = file.statements[4]
    assert isinstance(group, Group)
    assert group.name_span.text == "tower"
    assert group.span.text.startswith("group tower(2) {")
    assert group.span.text.endswith("}")
    assert (group.span.line, group.span.end_line, group.span.end_column) == (16, 24, 2)
    for node in walk(file):
        assert node.span.source is source
        assert node.span.text.strip() == node.span.text or node is file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("language 1", Language(1)),
        ("net vgg-16b", Net("vgg-16b")),
        ('include "a b.net"', Include(String("a b.net"))),
        ("input image [3, 4]", Input("image", List((Number(3), Number(4))))),
        ("relu", ChainStatement(Name("relu"))),
        ("a | relu", ChainStatement(Chain((Name("a"), Name("relu"))))),
        ("data = a", None),
        ("x = data.crop", Assign("x", Name("data.crop"))),
        ("data.crop | relu", ChainStatement(Chain((Name("data.crop"), Name("relu"))))),
        ("add(input, group)", ChainStatement(Call("add", (Arg(None, Name("input")), Arg(None, Name("group")))))),
        ("def f(a,) { }", Def("f", (Param("a"),), ())),
        ("def f(a, b = 1) { }", Def("f", (Param("a"), Param("b", Number(1))), ())),
        ("repeat 3 { relu }", RepeatStatement(None, Number(3), (ChainStatement(Name("relu")),))),
        ("x = repeat (n) { }", RepeatStatement("x", Name("n"), ())),
        ("place a by tower on gpu1", Place(Name("a"), "tower", "on", Name("gpu1"))),
        ("place by, on by by over over", Place(List((Name("by"), Name("on"))), "by", "over", Name("over"))),
        (
            "place a..b, c over [d0, d1], [d2..d4]",
            Place(
                List((Range("a", "b"), Name("c"))),
                None,
                "over",
                List((List((Name("d0"), Name("d1"))), List((Range("d2", "d4"),)))),
            ),
        ),
        ("place a over [d0]", Place(Name("a"), None, "over", List((List((Name("d0"),)),)))),
        ("place a over d0..d3", Place(Name("a"), None, "over", Range("d0", "d3"))),
        ("report fc8 | softmax, x", Report((Chain((Name("fc8"), Name("softmax"))), Name("x")))),
        ("solver sgd { }", Solver("sgd", ())),
        (
            "solver sgd { a.bias, b..c\n { lr = 1 }, lr = 2, }",
            Solver(
                "sgd",
                (Setting("lr", Number(2)),),
                (SolverBlock((Name("a.bias"), Range("b", "c")), (Setting("lr", Number(1)),)),),
            ),
        ),
    ],
)
def test_statements(text: str, expected: Stmt | None) -> None:
    if expected is None:
        with pytest.raises(SpecError):
            one(text)
    else:
        assert one(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 - 2 - 3", Binary("-", Binary("-", Number(1), Number(2)), Number(3))),
        ("1 + 2 * 3", Binary("+", Number(1), Binary("*", Number(2), Number(3)))),
        ("(1 + 2) * -x", Binary("*", Binary("+", Number(1), Number(2)), Negate(Name("x")))),
        ("50%", Number(50, "%")),
        ("0.5x", Number(0.5, "x")),
        ("1e-4", Number(1e-4)),
        ("2 * x", Binary("*", Number(2), Name("x"))),
        ('"a\\"\\\\n\\n"', String('a"\\n\n')),
        ("conv1..stage1.2", Range("conv1", "stage1.2")),
        ("[a | b, []]", List((Chain((Name("a"), Name("b"))), List()))),
        ("f(x = g | h, in)", Call("f", (Arg("x", Chain((Name("g"), Name("h")))), Arg(None, Name("in"))))),
        ("net", Name("net")),
        ("  [1,\n 2]  # remark", List((Number(1), Number(2)))),
    ],
)
def test_expressions(text: str, expected: Expr) -> None:
    assert parse_expression(text) == expected


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n \t\n", "\ufeff", "\r\n\r\n"])
def test_empty(text: str) -> None:
    assert parse(Source("a.net", text)).statements == ()


def test_kinds_of_numbers() -> None:
    values = [parse_expression(text) for text in ("3", "3.0", "3e0")]
    assert [type(node.value) for node in values if isinstance(node, Number)] == [int, float, float]


@pytest.mark.parametrize(
    "text",
    [
        "a = b | c",
        "a =\n  b\n  | c",
        "a = b # x\n# y\n\n| c",
        "\ta = b |\n\n# y\nc",
        "a = b\r\n\r\n   | c\r\n",
        "\ufeffa = b | c",
    ],
)
def test_lines_that_go_on(text: str) -> None:
    assert one(text) == Assign("a", Chain((Name("b"), Name("c"))))


def test_lines_that_end() -> None:
    assert len(parse(Source("a.net", "a = b   \n\t\nc = d  # remark\n  # more\n\ne\n")).statements) == 3
    with pytest.raises(SpecError):
        parse(Source("a.net", "net\nalexnet\n"))


@pytest.mark.parametrize("text", ["", "1 2", "a = 3", "(", "a | 3", "3x3", "1\n2", "f(a.b=1)", "}", "{"])
def test_expressions_that_are_wrong(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_expression(text)
    assert "--set" in str(caught.value)


def test_depth() -> None:
    deep = "f(" * 63 + "1" + ")" * 63
    parse(Source("a.net", f"x = {deep}"))
    for text in ("(" * 65 + "1" + ")" * 65, "[" * 100_000, "1" + "+1" * 100_000, "g(" * 100_000 + ")" * 100_000):
        with pytest.raises(SpecError, match="64 levels"):
            parse(Source("a.net", f"const x = {text}"))


def test_size() -> None:
    with pytest.raises(SpecError, match="too large"):
        parse(Source("a.net", "# " + "é" * 500_000))


@pytest.mark.parametrize("line", ["a = = b\n", "@\n", ")\n", "a = f(b\n", "a.b = c\n"])
def test_many_errors_end(line: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(Source("a.net", line * 500))
    assert len(caught.value.diagnostics) == 50
    assert str(caught.value).endswith("\n\n50 errors, and there may be more")


def test_many_errors_in_a_long_file_end_soon() -> None:
    with pytest.raises(SpecError, match="and there may be more"):
        parse(Source("a.net", "a = = b\n" * 20_000))


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    path.write_bytes("net é\n".encode("latin-1"))
    with pytest.raises(SpecError, match="not text in UTF-8"):
        read_source(path)
    with pytest.raises(SpecError, match=r"b\.net cannot be read: no such file"):
        read_source(tmp_path / "b.net", "b.net")
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(SpecError, match="too large"):
        read_source(path)
    path.write_bytes(b"net a\r\n")
    assert read_source(path, "a.net") == Source("a.net", "net a\n")
