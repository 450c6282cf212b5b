"""What the site does to the pages in docs: it adds those of the top folder, and makes links of names of pages.

On a forge the same files are read as they are, so nothing here may be needed to understand them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

TOP: Final = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
_LINK: Final = re.compile(r"(?P<before>\]\()(?P<path>[\w./-]+\.md)(?P<after>[)#])")
_NAMED: Final = re.compile(r"(?<![\w`(\[\]/])(?P<open>\(?)docs/(?P<path>[\w/-]+\.md)(?![\w`)]*\]\()")
_CODE: Final = re.compile(r"(^```.*?^```$|^    .*?$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the top folder."""
    root = Path(config.config_file_path).parent
    for source, page in TOP.items():
        files.append(File.generated(config, page, content=(root / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Point links at the pages of the site, and make links of names such as ``docs/wire.md``."""
    docs = Path(config.docs_dir)
    here = page.file.src_uri
    top = here in TOP.values()

    def link(found: re.Match[str]) -> str:
        return f"{found['before']}{_within(found['path'], here, top=top)}{found['after']}"

    def named(found: re.Match[str]) -> str:
        path = found["path"]
        if not (docs / path).exists():
            return found[0]
        return f"{found['open']}[{path}]({posixpath.relpath(path, posixpath.dirname(here) or '.')})"

    parts = _CODE.split(markdown)
    parts[::2] = [_LINK.sub(link, _NAMED.sub(named, text)) for text in parts[::2]]
    return "".join(parts)


def _within(path: str, here: str, *, top: bool) -> str:
    """Return where a link leads on the site.

    Args:
        path: As it is written, relative to the file.
        here: The page it is on.
        top: Whether that page's file is in the top folder.
    """
    if top and path.startswith("docs/"):
        return path.removeprefix("docs/")
    name = posixpath.basename(path)
    outside = top or posixpath.normpath(posixpath.join("docs", posixpath.dirname(here), path)) == name
    if outside and name in TOP:
        return posixpath.relpath(TOP[name], posixpath.dirname(here) or ".")
    return path


def on_post_page(output: str, **_: Any) -> str:
    """Give the theme's search a name, which a screen reader says."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )
