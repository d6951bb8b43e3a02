"""Addresses of stores: any folder's name works, and no password is written down."""

import sqlite3
import time
from types import SimpleNamespace

import pytest

from integrand.cells import cell
from integrand.errors import TrackingError
from integrand.tracking.provenance.configuration import reproducible
from integrand.tracking.store.opening import open_store
from integrand.tracking.store.refusals import checked_run
from integrand.tracking.store.uris import (
    artifact_location,
    local_path,
    redact,
    resolve_uri,
    sqlite_path,
    sqlite_uri,
)

ODD = ["feature%2Fx", "a?b=c", "a#b", "100%", "a%20b", "with space", "ü;&'$"]


@pytest.mark.parametrize("name", ODD)
def test_a_working_directory_of_any_name(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    uri = resolve_uri()
    assert sqlite_path(uri) == folder / "mlflow.db"
    # SQLAlchemy opens that very file
    from sqlalchemy import create_engine

    create_engine(uri).connect().close()
    assert [p.name for p in folder.iterdir()] == ["mlflow.db"]
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert local_path(artifact_location(folder / "mlartifacts", "e")) == folder / "mlartifacts" / "e"


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD[:3])
def test_runs_and_artifacts_stay_in_it(tmp_path, monkeypatch, name, tiny):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    run_id = tiny.fit(epochs=1).logger.run_id
    assert (folder / "mlartifacts/integrand" / run_id / "artifacts/record.json").is_file()
    assert open_store().get_run(run_id).info.status == "FINISHED"
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_plain_paths_are_written_as_they_are(tmp_path):
    assert sqlite_uri(tmp_path / "x.db") == f"sqlite:///{tmp_path}/x.db"
    assert artifact_location(tmp_path, "suite/cell") == f"{tmp_path}/suite/cell"


@pytest.mark.parametrize("name", ["../../etc", "..", "/etc", "a/../../b", ".", "a\\..\\b"])
def test_no_experiment_puts_artifacts_elsewhere(tmp_path, name):
    path = local_path(artifact_location(tmp_path, name))
    assert path.is_relative_to(tmp_path)
    assert path.resolve().is_relative_to(tmp_path)
    assert path != tmp_path


SECRET = "planted-secret"


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"postgresql://host/db?user=me&password={SECRET}",
        f"mssql+pyodbc://host/db?PWD={SECRET}&driver=x",
        f"https://host/path?access_token={SECRET}",
        f"mysql://host/db?ssl_key_password={SECRET}",
    ],
)
def test_no_password_is_shown_or_recorded(uri):
    assert SECRET not in redact(uri)
    assert "host" in redact(uri)
    config = {
        "trainer": {"logger": {"class_path": "x", "init_args": {"tracking_uri": uri, "tags": {"at": uri}}}},
        "data": {"sources": [uri]},
    }
    assert SECRET not in str(reproducible(config))
    assert reproducible(config)["trainer"]["logger"]["init_args"]["tracking_uri"] is None


@pytest.mark.parametrize("uri", ["sqlite:////a/b%20c.db", "https://host/a?b=c&d", "postgresql://host/db", ""])
def test_what_has_no_secret_stays_as_it_is(uri):
    assert redact(uri) == uri


def test_a_locked_database_is_one_line_within_seconds(workdir, monkeypatch):
    monkeypatch.setattr("integrand.tracking.store.refusals.LOCK_SECONDS", 0.2)
    other = sqlite3.connect(workdir / "mlflow.db")
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(TrackingError, match="holds the lock of the tracking database"):
        open_store()
    assert time.monotonic() - began < 30, "MLflow's own retries take longer than that"
    other.close()


def test_a_database_deleted_under_a_run_is_said_and_nothing_is_thrown_away(workdir, tiny, caplog):
    """The open file of a deleted database goes on taking everything."""
    from lightning.pytorch.callbacks import Callback

    class Delete(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                trainer.logger.flush()
                (workdir / "mlflow.db").unlink()

    tracker = tiny.MLflowTracker(exit_seconds=0.5, flush_every=0.05)
    trainer = tiny.make_trainer(tracker)
    trainer.callbacks.insert(0, Delete())
    trainer.fit(tiny.TinyModule(), tiny.TinyData())
    assert "has been deleted or replaced" in caplog.text
    assert list(workdir.glob("integrand-runs/spool/*/points.jsonl"))


RUN = "0" * 32


@pytest.mark.parametrize(
    ("run_id", "folder", "sound"),
    [
        (RUN, "mlflow-artifacts:/1/x/artifacts", True),
        (RUN, f"/shared/1/{RUN}/artifacts", True),
        (RUN, "/home/me/.ssh", False),
        (RUN, f"file:///home/me/../x/{RUN}/artifacts", False),
        ("../../x", "mlflow-artifacts:/1", False),
        ("", "mlflow-artifacts:/1", False),
    ],
)
def test_a_server_chooses_no_folder_of_this_machine(run_id, folder, sound):
    info = SimpleNamespace(run_id=run_id, artifact_uri=folder)
    if sound:
        checked_run("https://host", info)
    else:
        with pytest.raises(TrackingError):
            checked_run("https://host", info)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("-1.5e3", "-1.5e3"),
        ("a\x1b[31mb\x07", "a[31mb"),
        ("ü\nz", "ü\nz"),
        (1.5, 1.5),
        (None, None),
    ],
)
def test_cells_are_shown_and_never_run(text, shown):
    assert cell(text) == shown
