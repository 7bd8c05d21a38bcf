"""Rules of the look, held against the style sheets."""

from __future__ import annotations

import re
from importlib import resources

import pytest

SHEETS = {
    each.name: each.read_text()
    for each in resources.files("asynq.web").joinpath("static").iterdir()
    if each.name.endswith(".css")
}
COLOURS = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", SHEETS["asynq.css"])
}
TEXTS = ("text", "dim", "faint", "accent", "danger")
STATES = ("pending", "active", "scheduled", "retry", "archived", "completed", "aggregating")


def contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it: 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_states_can_be_read_on_every_ground(theme: str) -> None:
    pairs = {(text, ground) for text in (*TEXTS, *STATES) for ground in ("ground", "surface", "raised")}
    pairs |= {("danger", "danger-ground"), ("text", "good-ground"), ("accent", "good-ground")}
    pairs |= {("on-accent", "accent"), ("on-accent", "danger")}
    found = {pair: contrast(*(COLOURS[each][theme] for each in pair)) for pair in pairs}
    assert {pair: value for pair, value in found.items() if value < 4.5} == {}


def test_there_are_four_sizes_of_type() -> None:
    sizes = {size for text in SHEETS.values() for size in re.findall(r"font-size: ([^;]+);", text)}
    assert sizes <= {"var(--small)", "var(--body)", "var(--large)", "var(--figure)"}


def test_each_state_has_a_colour_and_a_shape() -> None:
    text = SHEETS["asynq.css"]
    shapes = [re.search(rf"\.state\.{state}::before {{([^}}]+)}}", text) for state in STATES]
    assert all(shapes)
    assert len({shape[1] for shape in shapes if shape}) == len(STATES)
    assert all(f".state.{state} {{ color: var(--{state}); }}" in text for state in STATES)
