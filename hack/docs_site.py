"""For MkDocs: what pages link to outside docs/ comes along with the site."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
_LINK: Final = re.compile(
    r"\[(?P<text>[^\]]*)\]\((?P<path>(?:\.\./)+[^)#\s]+)(?P<anchor>#[^)\s]*)?\)"
)
_PAGES: Final = (".md", ".png", ".svg")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every file that a page links to and that is not of docs/."""
    from mkdocs.structure.files import File

    for page in list(files.documentation_pages()):
        for link in _LINK.finditer(page.content_string):
            target = _outside(page.src_uri, link["path"])
            if target is not None and (ROOT / target).is_file():
                served = _served(target)
                if files.get_file_from_path(served) is None:
                    content = (ROOT / target).read_bytes()
                    files.append(File.generated(config, served, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at what came along; of a link to a folder the words are left."""
    del config

    def mended(link: re.Match[str]) -> str:
        target = _outside(page.file.src_uri, link["path"])
        if target is None:
            return link[0]
        if files.get_file_from_path(_served(target)) is None:
            return link["text"]
        up = "../" * page.file.src_uri.count("/")
        return f"[{link['text']}]({up}{_served(target)}{link['anchor'] or ''})"

    return _LINK.sub(mended, markdown)


def _outside(page: str, path: str) -> str | None:
    """The place in the project that a page's link names; None where it is in docs/."""
    target = os.path.normpath(Path("docs", page).parent / path)
    return None if target.startswith("docs/") else target


def _served(target: str) -> str:
    """Where a file of the project stands in the site: sources as texts, which browsers show."""
    return f"project/{target}" if target.endswith(_PAGES) else f"project/{target}.txt"
