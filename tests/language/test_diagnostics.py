"""How diagnostics look, in which order they come, and what is suggested."""

from __future__ import annotations

import pytest

from alexdsl.language import Diagnostic, Diagnostics, Source, SpecError, suggest

SOURCE = Source("specs/mine.net", "net mine\n\n    conv4 = conv(384, kernel=3)\n\twide = 名名 x\n")


def test_look() -> None:
    start = SOURCE.text.index("conv(")
    diagnostic = Diagnostic(
        "conv4 expects 384 input maps but 'conv3' gives 256",
        SOURCE.span(start, start + 4),
        ("conv3 gives f32[128, 256, 13, 13]\n(line 20)",),
        ("sees=all",),
        label="here",
    )
    assert diagnostic.render() == (
        "error: conv4 expects 384 input maps but 'conv3' gives 256\n"
        " --> specs/mine.net:3:13\n"
        "  |\n"
        "3 |     conv4 = conv(384, kernel=3)\n"
        "  |             ^^^^ here\n"
        "  = conv3 gives f32[128, 256, 13, 13]\n"
        "    (line 20)\n"
        "  = hint: sees=all"
    )


def test_a_span_over_lines_ends_with_its_first() -> None:
    rendered = Diagnostic("m", SOURCE.span(SOURCE.text.index("kernel"), len(SOURCE.text))).render()
    assert rendered.endswith("  |                       ^^^^^^^^^")


def test_wide_letters_and_tabs() -> None:
    at = SOURCE.text.index("x\n")
    rendered = Diagnostic("m", SOURCE.span(at, at + 1), severity="warning").render()
    assert rendered.startswith("warning: m\n")
    assert rendered.endswith("4 |     wide = 名名 x\n  |                 ^")


def test_without_a_place() -> None:
    assert Diagnostic("m", None, ("n",), ("h",)).render() == "error: m\n   = n\n   = hint: h"


def test_at_the_very_end() -> None:
    end = len(SOURCE.text)
    assert Diagnostic("m", SOURCE.span(end, end)).render().endswith("5 |\n  | ^")


@pytest.mark.parametrize("at", [0, 50, 99, 100, 101, 250, 399])
def test_long_lines_show_the_place(at: int) -> None:
    text = "".join(chr(ord("a") + n % 26) for n in range(400))
    lines = Diagnostic("m", Source("a", text).span(at, at + 1)).render().split("\n")
    assert len(lines[3]) <= 112
    assert lines[3][lines[4].index("^")] == text[at]


def test_all_at_once_in_order() -> None:
    other = Source("other.net", "x")
    problems = Diagnostics()
    problems.raise_if_errors()
    problems.error(None, "nowhere")
    problems.error(SOURCE.span(9, 10), "second", hint="do")
    problems.error(other.span(0, 1), "third")
    problems.error(SOURCE.span(0, 3), "first", "a note")
    problems.error(SOURCE.span(0, 3), "first", "a note")
    problems.warning(SOURCE.span(0, 3), "careful")
    with pytest.raises(SpecError) as caught:
        problems.raise_if_errors()
    assert [d.message for d in caught.value.diagnostics] == ["first", "second", "third", "nowhere"]
    assert str(caught.value).endswith("\n\nerror: nowhere\n\n4 errors")
    assert [d.message for d in problems.warnings] == ["careful"]


@pytest.mark.parametrize(
    ("word", "expected"), [("kernal", "kernel"), ("Stride", "stride"), ("strid", "stride"), ("zebra", None), ("", None)]
)
def test_suggestions(word: str, expected: str | None) -> None:
    assert suggest(word, ["kernel", "stride", "pad"]) == expected
