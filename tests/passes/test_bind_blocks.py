"""What becomes of defs, repeats, groups and places."""

from __future__ import annotations

import pytest

from tests.passes.binding import END, GROUP, IMAGE, bound, ops, steps

# --- defs and repeats


def test_a_def_adds_a_level_and_makes_new_weights() -> None:
    found = ops(
        "def cbn(width, k = 3) {\n conv(width, kernel=k, pad=same)\n y = batch_norm | relu\n}\n"
        "stem = cbn(8) | cbn(4, 1)"
    )
    assert {"stem.cbn.conv.weight", "stem.cbn.y.weight", "stem.cbn_2.conv.weight", "stem.cbn.y.mean"} <= set(found)
    assert found["stem.cbn_2.conv"].operands[0] == "stem.cbn.y.relu"
    assert found["stem.cbn_2.conv"].attrs["kernel"] == (1, 1)
    assert found["scores.linear"].operands[0] == "stem.cbn_2.y.relu"


def test_in_is_what_comes_into_a_def_or_repeat() -> None:
    found = ops("def f() { relu | add(in) }\na = tanh | f\nb = repeat 2 { sigmoid | add(in) }")
    assert found["a.f.relu"].operands == ("a.tanh",)
    assert found["a.f.add"].operands == ("a.f.relu", "a.tanh")
    assert found["b.2.add"].operands == ("b.2.sigmoid", "b.1.add")
    assert found["scores.linear"].operands[0] == "b.2.add"


def test_def_parameters_may_be_values_and_use_each_other() -> None:
    found = ops("def f(x, n, m = n / 2) { x | linear(m) }\na = relu\nb = f(a, 8)\nc = f(a | tanh, n=8, m=3)")
    assert found["b.f.linear"].operands[0] == "a.relu"
    assert found["b.f.linear"].attrs["units"] == 4
    assert found["c.f.linear"].operands[0] == "c.tanh"


def test_defs_see_where_they_stand_and_not_their_users() -> None:
    found = ops("const n = 3\ndef g() { linear(n) }\ndef f(n) { g | linear(n) }\na = f(5)")
    assert found["a.f.g.linear"].attrs["units"] == 3
    assert found["a.f.linear"].attrs["units"] == 5
    inner = ops("def f() {\n def g() { relu }\n g | g\n}\na = f")
    assert {"a.f.g.relu", "a.f.g_2.relu"} <= set(inner)


def test_share_uses_the_weights_of_an_earlier_use() -> None:
    found = ops("def f() { conv(8, kernel=3) }\na = f()\nb = image | f(share=a)\nc = image | f()\nd = add(a, b, c)")
    assert found["b.f.conv"].operands == ("image", "a.f.conv.weight", "a.f.conv.bias")
    assert found["c.f.conv"].operands[1] == "c.f.conv.weight"


def test_repeats_count_their_rounds_and_nest() -> None:
    assert steps("a = repeat 2 { repeat 2 { relu } }\nrepeat 1 { tanh }") == [
        "a.1.repeat.1.relu", "a.1.repeat.2.relu", "a.2.repeat.1.relu", "a.2.repeat.2.relu", "repeat.1.tanh",
    ]  # fmt: skip
    assert "a.2.x.conv" in ops("a = repeat 2 { x = conv(3, kernel=1) }")


# --- groups


def test_a_group_cuts_layers_and_says_what_they_see() -> None:
    found = ops(
        "group tower(2) {\n a = conv(8, kernel=3) | relu | lrn\n b = conv(8, kernel=3, sees=all)\n"
        " c = conv(8, kernel=3)\n}"
    )
    seen = {name: op.attrs.get("sees") for name, op in found.items() if op.attrs.get("towers") == 2}
    assert seen == {"a.conv": "all", "a.relu": None, "a.lrn": "own", "b.conv": "all", "c.conv": "own"}
    assert "towers" not in found["scores.linear"].attrs


def test_one_tower_is_no_group() -> None:
    found = ops("group tower(1) {\n a = conv(8, kernel=3)\n b = conv(8, kernel=3, sees=all)\n}")
    assert not any("towers" in op.attrs or "sees" in op.attrs for op in found.values())


def test_defs_and_repeats_in_a_group_are_cut() -> None:
    found = ops("def f() { relu }\ngroup t(2) {\n a = conv(8, kernel=3) | f\n b = repeat 2 { tanh }\n}")
    assert all(found[name].attrs["towers"] == 2 for name in ("a.f.relu", "b.1.tanh", "b.2.tanh"))


# --- place


@pytest.mark.parametrize(
    ("tail", "places"),
    [
        ("place t over g0, g1", {"a.conv": ("g0", "g1"), "b.weight": ("g0", "g1"), "c.relu": None}),
        ("place a..c on g1", {"a.relu": ("g1",), "b.conv": ("g1",), "c.relu": ("g1",), "scores.linear": None}),
        ("place a, c on g1", {"a.conv": ("g1",), "b.conv": None, "c.relu": ("g1",)}),
        (
            "place all on g0\nplace c on g1",
            {"a.conv": ("g0",), "c.relu": ("g1",), "loss.softmax_cross_entropy": ("g0",)},
        ),
        ("place a..b by tower over g1, g0", {"a.conv": ("g1", "g0"), "b.bias": ("g1", "g0")}),
    ],
)
def test_places(tail: str, places: dict[str, tuple[str, ...] | None]) -> None:
    found = ops(GROUP, tail)
    assert {name: found[name].attrs.get("place") for name in places} == places


def test_devices_are_in_the_order_in_which_they_are_named() -> None:
    graph = bound(IMAGE + GROUP + END + "place c on g2\nplace t over g1, g0\n").graph
    assert graph.attrs["devices"] == ("g2", "g1", "g0")
    assert bound(IMAGE + GROUP + END).graph.attrs["devices"] == ("device0",)
