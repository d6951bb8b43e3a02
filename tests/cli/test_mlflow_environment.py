"""MLflow's variables name run and experiment, or it is said that they do not."""

import shutil

import pytest

from integrand.cli.line import Line
from integrand.cli.mlflow_environment import take_up
from integrand.errors import UsageError
from integrand.tracking.store.opening import open_store


@pytest.fixture
def store(tmp_path, fresh_database, monkeypatch):
    """A store with an experiment `proj`, from which everything starts."""
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = open_store()
    return client, client.create_experiment("proj")


def words(argv=()):
    line = Line(list(argv))
    take_up(line)
    return [(word.option, word.value) for word in line.words]


def test_an_experiment_by_name_or_number(store, monkeypatch):
    _, number = store
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    assert words() == [("--trainer.logger.experiment", "proj")]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    assert words() == [("--trainer.logger.experiment", "another")]


def test_a_run_that_is_new(store, monkeypatch):
    client, number = store
    run_id = client.create_run(number).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "proj")
    assert words() == [("--trainer.logger.run_id", run_id), ("--trainer.logger.experiment", "proj")]


@pytest.mark.parametrize(
    "argv",
    [
        ["--resume", "abc"],
        ["--run", "abc"],
        ["--trainer.logger", "false"],
        ["--trainer.logger.experiment", "mine"],
        ["--trainer.logger+=CSVLogger"],
    ],
)
def test_the_command_line_wins_with_a_word(store, monkeypatch, capsys, argv):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "proj")
    before = [(word.option, word.value) for word in Line(argv).words]
    assert words(argv) == before
    assert capsys.readouterr().err == "MLFLOW_EXPERIMENT_NAME not used: the command says where to record\n"


def test_a_configuration_that_names_a_logger_wins_too(store, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("MLFLOW_RUN_ID", "whatever")
    (tmp_path / "mine.yaml").write_text("trainer: {logger: {class_path: CSVLogger}}")
    assert len(words(["--config", "mine.yaml"])) == 1
    assert "MLFLOW_RUN_ID not used" in capsys.readouterr().err


def test_what_does_not_exist_is_told(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "99")
    with pytest.raises(UsageError, match="there is no experiment '99'"):
        words()
    monkeypatch.setenv("MLFLOW_RUN_ID", "feedfeed")
    with pytest.raises(UsageError, match="MLFLOW_RUN_ID: "):
        words()


def test_a_run_in_which_something_was_trained_is_not_overwritten(store, monkeypatch):
    client, number = store
    run_id = client.create_run(number, tags={"status": "finished"}).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with pytest.raises(UsageError, match="something has been trained"):
        words()


def test_nothing_is_looked_up_without_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    assert words() == []
    assert not list(tmp_path.iterdir())
