"""Every tutorial does what it says: its files are written, its Python is run, its commands end well."""

import re
import shlex
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[2] / "docs/tutorials").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_FILE = re.compile(r"# ([\w.]+\.(?:py|yaml))\n")


def follow(page, program):
    """Do what a page says, block by block."""
    names = {}
    for kind, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        file = _FILE.match(block)
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
