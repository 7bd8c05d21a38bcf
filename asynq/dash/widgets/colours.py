"""Colours of the theme, for texts that are not drawn by style sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App

STATES = {
    "pending": "text-primary",
    "active": "text-success",
    "scheduled": "text-secondary",
    "retry": "text-warning",
    "archived": "text-error",
    "aggregating": "text-accent",
}


def colour(app: App[Any], name: str) -> str:
    """A colour of the theme, as rich names it."""
    value = app.theme_variables.get(name, "")
    return value if value.startswith("#") else value.removeprefix("ansi_").partition(" ")[0]
