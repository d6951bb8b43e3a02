"""Every tutorial does what it says: its files are written, its Python is run, its commands end well."""

import runpy
import shlex
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
notebooks = runpy.run_path(str(DOCS / "notebooks.py"))


def follow(page, program):
    """Do what a page says, block by block."""
    names = {}
    for kind, block in notebooks["BLOCK"].findall(page.read_text(encoding="utf-8")):
        file = notebooks["FILE"].match(block)
        if file:
            (program.folder / file[1]).write_text(block, encoding="utf-8")
        elif kind == "python":
            exec(compile(block, str(page), "exec"), names)
        elif kind == "sh":
            for line in block.splitlines():
                command, *words = shlex.split(line)
                assert command == "integrand", line
                done = program(*words)
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


QUICK = ("solvers-alone", "own-family")
"""The others train for some ten seconds and more."""
PAGES = [pytest.param(p, id=p.stem, marks=[] if p.stem in QUICK else pytest.mark.slow) for p in TUTORIALS]


@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_does_what_it_says(page, program, monkeypatch):
    monkeypatch.chdir(program.folder)
    follow(page, program)


def test_there_is_a_tutorial_of_each_kind():
    assert len(TUTORIALS) == 6


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_notebook_has_every_block_of_its_page_in_order(page):
    pytest.importorskip("jupytext")
    text = page.read_text(encoding="utf-8")
    cells = [c.source for c in notebooks["notebook"](text).cells if c.cell_type == "code"]
    wanted = []
    for kind, block in notebooks["BLOCK"].findall(text):
        if file := notebooks["FILE"].match(block):
            wanted.append(f"%%writefile {file[1]}\n{block.rstrip()}")
        elif kind == "sh":
            wanted += [f"%%sh\n{line}" for line in block.splitlines()]
        else:
            wanted.append(block.rstrip())
    assert cells == wanted
