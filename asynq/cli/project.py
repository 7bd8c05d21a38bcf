"""The settings of a project: the section [tool.asynq] of its pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from asynq.cli.arguments import usage_error


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
    url = settings.get("broker") if isinstance(settings, dict) else None
    if url is not None and not isinstance(url, str):
        raise usage_error(f"{file}: broker in [tool.asynq] must be a text")
    return url
