"""What the site needs beside its pages: links into the sources, and the texts of `--help`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from integrand.cli.main import usage
from integrand.cli.short_help import short_help

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)[^)#\s]+)(#[^)\s]*)?\)")
_BRACKET = re.compile(r"\](?=\([a-z]\))")
"""Lie brackets, [f, g](z), are no links."""
_HELP = re.compile(r"<!-- help: (\w+) -->")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links that leave `docs/` by the paths of the files, and marks by help texts.

    Raises:
        FileNotFoundError: A link leads out of `docs/` to a file that is not there.
    """
    folder = (ROOT / "docs" / page.file.src_uri).parent
    linked = _LINK.sub(lambda found: _inside(found, folder), _BRACKET.sub(r"]\\", markdown))
    return _HELP.sub(_help, linked)


def _inside(found: re.Match[str], folder: Path) -> str:
    target = (folder / found[2]).resolve()
    if target.is_relative_to(ROOT / "docs"):
        return found[0]
    if not target.exists():
        raise FileNotFoundError(f"{found[0]} leads to {target}, which is not there")
    return f"{found[1]} (`{target.relative_to(ROOT).as_posix()}`)"


def _help(found: re.Match[str]) -> str:
    text = usage() if found[1] == "integrand" else short_help(found[1])
    return f"```text\n{text}\n```"
