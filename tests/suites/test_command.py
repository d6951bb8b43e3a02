"""`integrand suite` as typed."""

import pytest

from integrand.cli import suite as command
from integrand.errors import UsageError


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


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["rum", "x"], "did you mean run"),
        (["run"], "SUITE"),
        (["run", "nowhere"], "no suite file nowhere"),
        (["run", "quickstart", "--jobs", "0"], "--jobs 0"),
        (["run", "quickstart", "--retries", "-1"], "--retries -1"),
        (["run", "quickstart", "--launcher", "loca"], "did you mean local"),
        (["plan", "quickstart", "--tracking", "x"], "did you mean --tracking-uri"),
    ],
)
def test_mistakes_are_one_line(argv, says):
    with pytest.raises(UsageError, match=says):
        command.run(argv)


@pytest.mark.slow
def test_run_reports_what_failed_and_how_to_go_on(suite_file, capsys, monkeypatch):
    """The real command line, with cells that fail at once because their families do not exist."""
    path = suite_file(seeds=[0])
    assert command.run(["run", str(path), "--jobs", "2"]) == 1
    out = capsys.readouterr().out
    assert "2 failed" in out
    assert "ModelA" in out
    assert "0 of 2 cells are finished" in out
    assert f"integrand suite run {path}" in out


def test_no_words_print_the_usage(capsys):
    assert command.run([]) == 2
    assert command.run(["--help"]) == 0
    assert "integrand suite {run,plan,status}" in capsys.readouterr().out
