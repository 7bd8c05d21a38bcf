"""From the outcomes of tests to a table of promises: text, Markdown, JSON, HTML."""
