"""The settings of a project: the section [tool.asynq] of its pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from asynq.cli.arguments import usage_error

KEYS = ("broker",)
"""The keys of that section."""


def configured_broker() -> str | None:
    """The URL in the nearest pyproject.toml, of this directory or one above; None if there is none."""
    for directory in (Path.cwd(), *Path.cwd().parents):
        file = directory / "pyproject.toml"
        if file.is_file():
            return _broker_in(file)
    return None


def _broker_in(file: Path) -> str | None:
    import tomllib

    try:
        tool = tomllib.loads(file.read_text()).get("tool", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise usage_error(f"{file} cannot be read: {error}") from None
    settings = tool.get("asynq", {}) if isinstance(tool, dict) else {}
    if not isinstance(settings, dict):
        raise usage_error(f"{file}: tool.asynq must be a table")
    for key in settings:
        if key not in KEYS:
            raise usage_error(f"{file}: unknown key {key!r} in [tool.asynq] (known: {', '.join(KEYS)})")
    url = settings.get("broker")
    if url is not None and not isinstance(url, str):
        raise usage_error(f"{file}: broker in [tool.asynq] must be a text")
    if url == "":
        raise usage_error(f"{file}: broker in [tool.asynq] is empty")
    return url
