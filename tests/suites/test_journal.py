"""What a suite noted is read whatever has happened to the file."""

import json
from types import SimpleNamespace

import pytest

from integrand.suites.journal import Journal

CELL = SimpleNamespace(key="k", experiment="e", seed=0)
OUTCOME = SimpleNamespace(state="finished", seconds=1.5, attempts=1, returncode=0, error="")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path)


@pytest.mark.parametrize(
    "damage", [b"", b'{"key": "k", "sta', b"\xff\xfe\n", b"[]\n", b"{}\n", b"[" * 100_000, b'{"key": 1}\n']
)
def test_a_damaged_line_costs_itself_only(journal, damage):
    path = journal.folder / "journal.jsonl"
    journal.append(CELL, OUTCOME)
    with path.open("ab") as file:
        file.write(damage)
    journal.append(CELL, OUTCOME)
    assert [entry["state"] for entry in journal.entries()] == ["finished"] * 2
    assert journal.durations() == {"e": [1.5, 1.5]}


@pytest.mark.parametrize("end", [{}, {"state": "failed"}, {"state": 3, "time": "x"}, []])
def test_an_end_that_says_nothing_is_none(journal, end):
    (journal.folder / "ends").mkdir()
    (journal.folder / "ends/k.json").write_text(json.dumps(end))
    assert journal.last_ends() == {}
    assert journal.noted_end("k") == {}
