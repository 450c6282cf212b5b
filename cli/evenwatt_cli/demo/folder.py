"""Where a demo writes."""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from contextlib import ExitStack


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies that all demos have."""

    folder: Path

    @property
    def spec(self) -> Path:
        """The twin's spec file."""
        return self.folder / "twin.json"

    @property
    def twins(self) -> Path:
        """Folder of the machines' trees."""
        return self.folder / "twins"

    @property
    def intensity(self) -> Path:
        """The grid's intensity, made up."""
        return self.folder / "intensity.csv"

    @property
    def database(self) -> Path:
        """The collector's database."""
        return self.folder / "collector" / "collector.db"

    @property
    def tokens(self) -> Path:
        """Who may submit jobs, and act on the page."""
        return self.folder / "tokens"

    def settings(self, name: str) -> Path:
        """Settings file of an agent, ``collector`` or ``operator``."""
        return self.folder / f"{name}.toml"

    def state_dir(self, node: str) -> Path:
        """State directory of a node's agent."""
        return self.folder / node

    def truth(self, node: str) -> Path:
        """What really happened on a node."""
        return self.twins / node / "truth.bin"


def write_token(layout: Layout) -> str:
    """Write a new token that may do everything on the demo's collector; return it."""
    token = secrets.token_urlsafe(32)
    layout.tokens.touch(0o600)
    layout.tokens.write_text(f"demo jobs,act {token}\n")
    return token


def where_the_page_is(url: str, layout: Layout) -> str:
    """Return where to look, and what one logs in with there."""
    return f"demo: the page is {url}/ (to act there, log in with the token at the end of {layout.tokens})"


def demo_folder(keep: Path | None, stack: ExitStack) -> Path:
    """Return an empty folder: the one to keep, or one that goes with ``stack``.

    Raises:
        Failure: the one to keep is not empty.
    """
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evenwatt-")))
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise Failure(f"--keep {keep}: not empty; name an empty or new folder")
    return keep.resolve()
