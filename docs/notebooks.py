"""Turns a tutorial into an executed notebook: `python docs/notebooks.py docs/tutorials/NAME.md NAME.ipynb`.

The page is the source. Its Python runs in the notebook's kernel, its commands in a shell, and a block whose
first line is `# NAME.py` or `# NAME.yaml` is written to that file.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
"""A block of a page: its language, its text."""
FILE = re.compile(r"# ([\w.]+\.(?:py|yaml))\n")
"""The first line of a block that is a file."""

_SECONDS = 900
# a kernel makes programs believe that they write to a terminal; tqdm asks for widgets
_ENVIRONMENT = {"COLUMNS": "100", "TTY_COMPATIBLE": "0", "PYTHONWARNINGS": "ignore:IProgress not found"}


def notebook(text: str) -> Any:
    """The notebook of a page, not executed."""
    import jupytext

    cells = jupytext.reads(BLOCK.sub(lambda found: _cells(found[1], found[2]), text), "md")
    cells.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    return cells


def _cells(kind: str, block: str) -> str:
    """The block as jupytext reads it: a file is a cell that writes it, a command a cell of its own."""
    if file := FILE.match(block):
        kind, cells = "python", [f"%%writefile {file[1]}\n{block}"]
    elif kind == "sh":
        kind, cells = "python", [f"%%sh\n{line}" for line in block.splitlines(keepends=True)]
    else:
        cells = [block]
    return "\n\n".join(f"```{kind}\n{cell}```" for cell in cells)


def execute(cells: Any) -> None:
    """Run a notebook in an empty folder, which its outputs call `/tutorial`.

    Raises:
        CellExecutionError: A cell failed.
    """
    from nbclient import NotebookClient

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **_ENVIRONMENT, "PATH": path}
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(cells, timeout=_SECONDS, resources=resources, coalesce_streams=True)
        client.execute(env=environment)
        for output in (output for cell in cells.cells for output in cell.get("outputs", ())):
            if "text" in output:
                output["text"] = output["text"].replace(folder, "/tutorial")
    cells.metadata["executed"] = date.today().isoformat()


def main(page: str, target: str) -> None:
    """Write the executed notebook of a page."""
    import nbformat

    cells = notebook(Path(page).read_text(encoding="utf-8"))
    execute(cells)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(cells, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
