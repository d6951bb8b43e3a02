"""What the site needs beside its pages: links into the sources, texts of `--help`, outputs of tutorials."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from integrand.cli.main import usage
from integrand.cli.short_help import short_help

TUTORIALS = "tutorials/"
NOTEBOOKS = Path("build/notebooks")
"""Where `make notebooks` leaves the executed tutorials."""
ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)[^)#\s]+)(#[^)\s]*)?\)")
_BRACKET = re.compile(r"\](?=\([a-z]\))")
"""Lie brackets, [f, g](z), are no links."""
_HELP = re.compile(r"<!-- help: (\w+) -->")


_executed: dict[str, str] = {}
"""By page, the text of a tutorial with its outputs."""


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add to every tutorial its notebook and the pictures that it drew.

    Raises:
        FileNotFoundError: A tutorial has not been executed.
    """
    from mkdocs.structure.files import File

    for page in [file for file in files.documentation_pages() if file.src_uri.startswith(TUTORIALS)]:
        stem = page.src_uri.removesuffix(".md")
        notebook = ROOT / NOTEBOOKS / f"{Path(stem).name}.ipynb"
        if not notebook.exists():
            raise FileNotFoundError(f"{notebook} is not there: make notebooks executes the tutorials")
        _executed[page.src_uri], pictures = _with_outputs(notebook)
        files.append(File.generated(config, f"{stem}.ipynb", content=notebook.read_bytes()))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"{TUTORIALS}{name}", content=picture))
    return files


def _with_outputs(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """An executed notebook as a page, and its pictures by name."""
    import nbformat
    from nbconvert import MarkdownExporter
    from traitlets.config import Config

    cells = nbformat.read(notebook, as_version=4)
    config = Config({"HighlightMagicsPreprocessor": {"enabled": True}})
    exporter = MarkdownExporter(config=config)
    text, resources = exporter.from_notebook_node(
        cells, {"unique_key": notebook.stem, "output_files_dir": "."}
    )
    title, _, rest = text.strip().partition("\n")
    said = f"[This page as a notebook]({notebook.name}); its outputs are of {cells.metadata.executed}."
    return f"{title}\n\n{said}\n{rest}", resources["outputs"]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links that leave `docs/` by the paths of the files, and marks by help texts; add outputs.

    Raises:
        FileNotFoundError: A link leads out of `docs/` to a file that is not there.
    """
    markdown = _executed.get(page.file.src_uri, markdown)
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
