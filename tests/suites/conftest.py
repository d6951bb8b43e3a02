"""Suite files, stub commands and a stub store."""

import sys

import pytest
import yaml

from integrand.suites.cells import expand
from integrand.suites.launcher import Task
from integrand.suites.spec import read_suite


@pytest.fixture
def suite_file(tmp_path):
    """Write a suite with two experiments beside it; keywords replace its keys."""
    for name in ("a", "b"):
        text = f"# a comment\nmodel: {{class_path: Model{name.upper()}}}\ndata: {{class_path: Digits}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)

    def write(**changes):
        content = {"name": "s", "experiments": ["a.yaml", "b.yaml"], "seeds": [0, 1]} | changes
        path = tmp_path / "s.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@pytest.fixture
def cells(suite_file):
    """The four cells of a small suite."""
    return expand(read_suite(str(suite_file())))


@pytest.fixture
def task(tmp_path):
    """A task that runs a piece of Python."""

    def make(key, code):
        return Task(key, f"task {key}", (sys.executable, "-c", code), tmp_path / "logs" / f"{key}.log")

    return make


class Watcher:
    """Remembers what a launcher tells its observer."""

    def __init__(self):
        self.events = []

    def started(self, task, attempt):
        self.events.append(("started", task.key, attempt))

    def retried(self, task, error):
        self.events.append(("retried", task.key, error))

    def ended(self, outcome):
        self.events.append(("ended", outcome.task.key, outcome.state))

    def tick(self):
        pass

    def stopping(self, reason):
        self.events.append(("stopping", reason))

    def leaving(self, reason, what):
        self.events.append(("leaving", reason, what))

    def named(self, kind):
        return [e[1] for e in self.events if e[0] == kind]


@pytest.fixture
def watcher():
    return Watcher()
