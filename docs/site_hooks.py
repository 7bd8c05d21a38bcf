"""What the documentation site needs beside `mkdocs.yml`: files outside of docs/, decisions, weights of pages.

On GitHub, pages link to files anywhere in the repository. The site has each such file as a page below
`repository/`, Markdown as it is and source as a block of code, and links lead there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[1]
OUTSIDE = "repository/"
WITHOUT_CONTENTS = ("comparison.md",)
"""Pages with wide tables. They take the place of the table of contents."""
BOOST = {
    "operations.md": 4.0,
    "troubleshooting.md": 2.0,
    "decisions/": 0.1,
    "howto/migrate": 0.5,
    "reference/": 0.5,
    OUTSIDE: 0.2,
}
"""By the beginning of a page's path: how much its results of a search count, if not 1."""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> None:
    """Put the pages of a folder in the place of its name."""
    for section in config.nav:
        if section.get("Decisions") == "decisions":
            pages = sorted((ROOT / "docs/decisions").glob("*.md"))
            section["Decisions"] = [f"decisions/{page.name}" for page in pages]


def on_files(files: Files, *, config: Any) -> Files:
    """Add each file outside of docs/ that a page, or such a file, links to."""
    waiting = [page.src_uri for page in files.documentation_pages()]
    while waiting:
        for target in links(waiting.pop()):
            uri = site_uri(target)
            if uri.startswith(OUTSIDE) and files.get_file_from_path(uri) is None:
                is_page = target.endswith(".md")
                shown = InclusionLevel.INCLUDED if is_page else InclusionLevel.NOT_IN_NAV
                files.append(File.generated(config, uri, content=content(target), inclusion=shown))
                waiting += [uri] if is_page else []
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Let the links of a page lead to where the site has their targets."""
    uri = page.file.src_uri
    page.meta["hide"] = ["toc"] if uri in WITHOUT_CONTENTS else []
    for begin, boost in BOOST.items():
        if uri.startswith(begin):
            page.meta["search"] = {"boost": boost}
    source = repository_path(uri)
    if not source.endswith(".md"):
        return markdown
    folder = posixpath.dirname(uri)
    return outside_of_code(
        markdown, lambda link: posixpath.relpath(site_uri(resolved(source, link)), folder or ".")
    )


def links(uri: str) -> list[str]:
    """The files that a page links to, as paths in the repository."""
    source = repository_path(uri)
    found: list[str] = []

    def note(link: str) -> str:
        found.append(resolved(source, link))
        return link

    outside_of_code((ROOT / source).read_text(), note)
    return found


def outside_of_code(markdown: str, change: Any) -> str:
    """The text with each relative link changed, except in blocks of code."""
    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(lambda link: change(link[1]), part) for part in parts[::2]]
    return "".join(parts)


def resolved(source: str, link: str) -> str:
    """The path in the repository to which a link in the file `source` leads."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def site_uri(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return OUTSIDE + path + ("" if path.endswith(".md") else ".md")


def repository_path(uri: str) -> str:
    """Where the repository has a page of the site."""
    if not uri.startswith(OUTSIDE):
        return "docs/" + uri
    path = uri.removeprefix(OUTSIDE)
    return path if (ROOT / path).is_file() else path.removesuffix(".md")


def content(path: str) -> str:
    """The page of a file outside of docs/."""
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        return text
    return f"# {path}\n\n````{Path(path).suffix[1:]}\n{text}\n````\n"
