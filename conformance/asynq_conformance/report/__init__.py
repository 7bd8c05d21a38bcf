"""Turns outcomes of tests into a table of promises: text, Markdown, JSON, HTML."""
