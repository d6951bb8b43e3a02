"""What runs before a change lands is what a developer runs by hand."""

import re
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
    assert {run.split()[1] for run in runs} >= {"lint", "test", "test-all", "wheel", "docker"}
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


def test_slow_tests_are_left_out_of_the_one_and_not_of_the_other():
    assert '-m "not slow"' in recipe("test")[0]
    assert "-m" not in recipe("test-all")[0].partition("pytest")[2]


def test_the_citation_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
