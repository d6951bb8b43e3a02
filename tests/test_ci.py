"""What runs before a change lands is what a developer runs by hand."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from integrand.version import __version__

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, flags=re.MULTILINE))


def recipe(target):
    """The commands of a make target."""
    found = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", MAKEFILE, flags=re.MULTILINE)
    return [line.strip() for line in found.group(1).splitlines()]


def test_every_step_of_the_workflow_is_a_make_target():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    runs = [s["run"] for job in workflow["jobs"].values() for s in job["steps"] if "run" in s]
    wanted = {"lint", "test", "test-all", "test-minimum", "docs", "wheel", "docker"}
    assert {run.split()[1] for run in runs} >= wanted
    for run in runs:
        assert re.fullmatch(r"make [\w-]+( [A-Z]+=\w+)*", run), run
        assert run.split()[1] in TARGETS, run


def test_the_gate_runs_the_test_command_of_the_readme():
    """The block under "Tests", and the same command by hand."""
    section = (ROOT / "README.md").read_text().partition("\n## Tests\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```\n(.*?)\n```", section, flags=re.DOTALL)
    (by_hand,) = re.findall(r"or by hand[^`]*`([^`]*)`", section)
    gate = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make ")]
    assert gate == ["make lint", block]
    assert recipe("test") == [by_hand.replace("python", "$(BIN)/python").replace("-n 2", "-n $(JOBS)")]


def test_every_page_is_in_the_site():
    """Links and anchors are checked by `make docs`, which needs MkDocs."""
    listed = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}


def test_the_oldest_versions_are_those_that_are_declared():
    printed = subprocess.run(
        [sys.executable, ROOT / "tests/minimum.py"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(printed) == len(declared)
    assert "torch==2.7" in printed


def test_slow_tests_are_left_out_of_the_one_and_not_of_the_other():
    assert '-m "not slow"' in recipe("test")[0]
    assert "-m" not in recipe("test-all")[0].partition("pytest")[2]


def test_the_citation_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
