"""`integrand suite` as typed."""

import json

import pytest

from integrand.cli import suite as command
from integrand.errors import UsageError
from integrand.suites.journal import Journal
from integrand.suites.spec import read_suite


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_plan_prints_and_creates_nothing(suite_file, tmp_path, capsys):
    path = suite_file()
    before = set(tmp_path.iterdir())
    assert command.run(["plan", str(path)]) == 0
    out = capsys.readouterr().out
    assert "would run 4 of 4 cells" in out
    assert out.count("waiting") == 4
    assert set(tmp_path.iterdir()) == before


def test_plan_commands_can_be_pasted(suite_file, capsys):
    command.run(["plan", str(suite_file(args=["--a", "b c"])), "--commands"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(" -m integrand fit --config " in line and line.endswith("--a 'b c'") for line in lines)


def test_status(suite_file, capsys):
    assert command.run(["status", str(suite_file())]) == 0
    assert "0 of 4 cells finished" in capsys.readouterr().out


def test_a_suite_that_has_run_here_is_found_by_its_name(suite_file, tmp_path, capsys):
    (tmp_path / "far").mkdir()
    path = suite_file()
    name = read_suite(str(path)).name
    away = path.rename(tmp_path / "far" / "file.yaml")
    with pytest.raises(UsageError, match="there is no suite"):
        command.run(["status", name])
    Journal.of(name).keep_file(away)
    assert command.run(["status", name]) == 0
    assert f"suite {name}: 0 of 4 cells finished" in capsys.readouterr().out
    away.unlink()
    with pytest.raises(UsageError, match="there is no suite"):
        command.run(["status", name])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["rum", "x"], "did you mean run"),
        (["run"], "SUITE"),
        (["run", "nowhere"], "there is no suite 'nowhere'"),
        (["run", "quickstart", "--jobs", "0"], "--jobs 0"),
        (["run", "quickstart", "--retries", "-1"], "--retries -1"),
        (["run", "quickstart", "--max-seconds", "soon"], "seconds 'soon' is not a positive number"),
        (["plan", "quickstart", "--max-nfe", "0"], "nfe '0' is not a positive number"),
        (["plan", "quickstart", "--jobs", "0"], "--jobs 0"),
        (["run", "quickstart", "--launcher", "loca"], "did you mean local"),
        (["plan", "quickstart", "--tracking", "x"], "did you mean --tracking-uri"),
    ],
)
def test_mistakes_are_one_line(argv, says):
    with pytest.raises(UsageError, match=says):
        command.run(argv)


def test_run_reports_what_failed_and_how_to_go_on(suite_file, capsys, monkeypatch):
    """The real command line, with cells that fail at once because their families do not exist."""
    path = suite_file(seeds=[0])
    assert command.run(["run", str(path), "--jobs", "2"]) == 1
    out = capsys.readouterr().out
    assert "2 failed" in out
    assert "ModelA" in out
    assert "0 of 2 cells are finished" in out
    assert f"integrand suite run {path}" in out


def test_status_for_programs(suite_file, capsys):
    command.run(["status", str(suite_file()), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["suite"] == "s"
    assert [(c["seed"], c["state"], c["quality"]) for c in found["cells"]] == [
        (0, "waiting", None), (0, "waiting", None), (1, "waiting", None), (1, "waiting", None),
    ]  # fmt: skip


def test_watch_prints_changes_where_there_is_no_terminal(suite_file, capsys, monkeypatch):
    """Two looks: nothing yet, then all done."""
    from integrand.suites import store
    from integrand.suites.store import StoredCell

    path = suite_file()
    keys = [c["key"] for c in json.loads(_status_json(path, capsys))["cells"]]
    looks = iter([{}, {}, {k: StoredCell("finished", k, 2.0, "") for k in keys}])
    monkeypatch.setattr(store, "stored_cells", lambda *a, **k: next(looks))
    monkeypatch.setattr(command, "WATCH_SECONDS", 0.0)
    assert command.run(["status", str(path), "--watch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["4 waiting", "4 finished", "suite s: 4 of 4 cells finished (4 finished)"]


def _status_json(path, capsys):
    command.run(["status", str(path), "--json"])
    return capsys.readouterr().out


def test_budgets_of_file_and_command_line_reach_the_command(suite_file, capsys):
    path = suite_file(budget={"seconds": 60, "nfe": "2e6"})
    command.run(["plan", str(path), "--commands", "--max-seconds", "5"])
    (line, *_) = capsys.readouterr().out.splitlines()
    assert line.endswith(
        "--trainer.callbacks+=integrand.tracking.callbacks.Budget "
        "--trainer.callbacks.max_seconds=5 --trainer.callbacks.max_nfe=2e+06"
    )


def test_no_words_print_the_usage(capsys):
    assert command.run([]) == 2
    assert command.run(["--help"]) == 0
    assert "integrand suite {run,plan,status,stop,sweep}" in capsys.readouterr().out
