"""A disk that is full of the store, its artifacts and the spool together: one line, and nothing that was said is lost."""

import os
import shutil
import subprocess

import pytest

from integrand.errors import TrackingError
from integrand.tracking import MLflowTracker
from integrand.tracking.spool.sync import sync
from integrand.tracking.store.opening import open_store

KILOBYTE = 1024


class Disk:
    """A file system in memory.

    Args:
        folder: Where it is mounted.
    """

    def __init__(self, folder):
        self.folder = folder
        self.filler = folder / "filler"

    def fill(self, left=0):
        """Leave so many bytes."""
        self.filler.write_bytes(bytes(shutil.disk_usage(self.folder).free - left))

    def make_room(self):
        self.filler.unlink()


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk of 3 MB as the working directory."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    monkeypatch.chdir(folder)
    yield Disk(folder)
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_store_that_found_no_space_opens_once_there_is_some(disk):
    """MLflow's tables are made one by one: a file with some of them never opens again."""
    disk.fill(left=300 * KILOBYTE)
    with pytest.raises(
        TrackingError, match=r"no space left on the disk of the tracking store .*mlflow\.db → make room"
    ):
        open_store()
    assert not (disk.folder / "mlflow.db").exists()
    disk.make_room()
    assert len(open_store().search_experiments()) == 1


@pytest.mark.parametrize("left", [0, 20 * KILOBYTE])
def test_a_run_that_finds_no_space_loses_nothing(disk, fresh_database, left):
    shutil.copy(fresh_database, "mlflow.db")
    tracker = MLflowTracker(experiment="full", exit_seconds=1.0)
    tracker.log_metrics({"loss": 0.0}, 0)
    assert tracker.flush(60)
    disk.fill(left)
    for step in range(1, 100):
        tracker.log_metrics({"loss": float(step)}, step)
    disk.make_room()  # before it ends: what the disk did not take is in memory only
    tracker.end("FINISHED", 60)
    sync()
    run = open_store().get_run(tracker.run_id)
    points = open_store().get_metric_history(tracker.run_id, "loss")
    assert sorted(p.step for p in points) == list(range(100))
    assert run.info.status == "FINISHED"


def test_a_run_cannot_begin_where_the_store_is_full(disk, fresh_database):
    shutil.copy(fresh_database, "mlflow.db")
    open_store().create_experiment("full", artifact_location=str(disk.folder / "mlartifacts"))
    disk.fill()
    with pytest.raises(TrackingError, match="no space left on the disk of the tracking store"):
        MLflowTracker(experiment="full").log_metrics({"loss": 1.0}, 0)
