"""A run whose first process is gone is ended by another; one whose first process lives is left alone."""

import subprocess
import sys

import pytest

from integrand.tracking.processes import orphans
from integrand.tracking.processes.process import identity
from integrand.tracking.spool import folders, operations
from integrand.tracking.spool.spool import Spool
from integrand.tracking.store import names
from integrand.tracking.store.opening import open_store

HERE = identity()


def gone():
    """The tags of a process of this host that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return {**HERE, names.PROCESS_ID: str(child.pid)}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = open_store(uri)
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    return uri, client, lambda tags: client.create_run(experiment, tags=tags).info.run_id


def test_what_a_dead_first_process_had_spooled_is_sent_and_its_run_fails(store):
    uri, client, create = store
    run_id = create(gone())
    meta = {"run_id": run_id, "tracking_uri": uri, "artifact_dir": None}
    spool = Spool(folders.spool_dir(run_id), meta)
    spool.append(operations.metrics({"loss": 0.5}, 7, 1.0))
    spool.close()
    assert orphans.end_orphan(run_id, uri, wait=False)
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.metrics == {"loss": 0.5}
    assert run.data.tags[names.ERROR_TYPE] == "LostProcessError"
    assert run.data.tags[names.STATUS] == "failed"
    assert not spool.directory.exists()
    assert not orphans.end_orphan(run_id, uri), "it has its end"


@pytest.mark.parametrize(
    ("tags", "wait", "ended"),
    [
        pytest.param({**HERE, names.PROCESS_HOST: "elsewhere"}, True, True, id="silent on another host"),
        pytest.param({**HERE, names.PROCESS_HOST: "elsewhere"}, False, False, id="another host, no time"),
        pytest.param(HERE, True, False, id="alive"),
    ],
)
def test_others_are_given_time(store, monkeypatch, tags, wait, ended):
    uri, client, create = store
    monkeypatch.setattr(orphans, "PATIENCE", 0.1)
    run_id = create(tags)
    assert orphans.end_orphan(run_id, uri, wait=wait) == ended
    assert client.get_run(run_id).info.status == ("FAILED" if ended else "RUNNING")


def test_no_file_is_made_where_the_store_is_another_machines(tmp_path):
    assert not orphans.end_orphan("0" * 32, f"sqlite:///{tmp_path}/elsewhere.db")
    assert not list(tmp_path.iterdir())


def test_trouble_with_the_store_is_no_second_error(store, caplog):
    uri, _, _ = store
    assert not orphans.end_orphan("0" * 32, uri)
    assert "cannot be ended" in caplog.text
