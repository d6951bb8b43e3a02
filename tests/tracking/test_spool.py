"""The spool keeps every operation, in order, whatever happens to the process, and sends each exactly once."""

import json
import math
import os

import pytest

from integrand.errors import TrackingError
from integrand.tracking.spool import folders, operations
from integrand.tracking.spool.delivery import Delivery
from integrand.tracking.spool.reader import SpoolReader
from integrand.tracking.spool.sender import Sender
from integrand.tracking.spool.spool import Spool
from integrand.tracking.spool.sync import sync


class Refusal(Exception):
    error_code = "INVALID_PARAMETER_VALUE"


class FakeClient:
    """A store in memory, with MLflow's identity of a metric point, that can be made to fail."""

    def __init__(self):
        self.points = {}
        self.params = {}
        self.tags = {}
        self.status = "RUNNING"
        self.calls = 0
        self.down = False
        self.bad = set()

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        self.calls += 1
        if any(m.key in self.bad for m in metrics):
            raise Refusal("bad name")
        for m in metrics:
            self.points[(m.key, m.step, m.timestamp)] = m.value
            if self.down:
                raise ConnectionError("the server died in the middle of a request")
        if self.down:
            raise ConnectionError("down")
        for p in params:
            if self.params.setdefault(p.key, p.value) != p.value:
                raise Refusal("Changing param values is not allowed")
        self.tags.update({t.key: t.value for t in tags})

    def set_terminated(self, run_id, status, end_time):
        if self.down:
            raise ConnectionError("down")
        self.status = status

    def update_run(self, run_id, status=None, name=None):
        self.status = status or self.status

    def get_run(self, run_id):
        from types import SimpleNamespace

        return SimpleNamespace(info=SimpleNamespace(status=self.status))


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool" / "r1", {"run_id": "r1", "tracking_uri": "x", "artifact_dir": None})
    yield spool
    spool.close()


def read_all(directory):
    found, end = SpoolReader(directory).read()
    return found, end


def test_operations_come_back_as_they_were(spool):
    spool.append(operations.metrics({"a": 0.1, "b": math.nan}, 3, 12.345678))
    spool.append(operations.tags({"k": "ü\n"}))
    found, end = read_all(spool.directory)
    assert found[0]["s"] == 3
    assert found[0]["t"] == 12345  # milliseconds, as MLflow counts
    assert found[0]["v"]["a"] == 0.1
    assert math.isnan(found[0]["v"]["b"])
    assert found[1]["v"] == {"k": "ü\n"}
    assert end == spool.size


def test_each_operation_is_on_disk_before_append_returns(spool):
    """What a SIGKILL leaves is what the file holds: nothing may wait in a buffer of this process."""
    path = spool.directory / "points.jsonl"
    for i in range(5):
        spool.append(operations.metrics({"a": 1.0}, i, 0.0))
        assert path.read_bytes().count(b"\n") == i + 1


def test_torn_last_line_is_kept_for_later_and_does_not_spoil_the_next(tmp_path):
    directory = tmp_path / "r1"
    first = Spool(directory, {"run_id": "r1"})
    first.append(operations.metrics({"a": 1.0}, 0, 0.0))
    os.write(first._fd, b'{"op":"metrics","v":{"a"')
    assert len(read_all(directory)[0]) == 1
    first.close()
    second = Spool(directory, {"run_id": "r1"})
    second.append(operations.metrics({"a": 2.0}, 1, 0.0))
    assert [o["s"] for o in read_all(directory)[0]] == [0, 1]
    second.close()


def test_a_second_writer_is_refused_until_the_first_has_gone(tmp_path):
    first = Spool(tmp_path / "r1", {"run_id": "r1"})
    with pytest.raises(TrackingError, match="written by another process"):
        Spool(tmp_path / "r1", {"run_id": "r1"})
    first.close()
    Spool(tmp_path / "r1", {"run_id": "r1"}).close()


def test_full_disk_keeps_operations_in_memory_and_in_order(spool, monkeypatch):
    real, full = os.write, True

    def write(fd, data):
        if full:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    spool.append(operations.metrics({"a": 0.0}, 0, 0.0))
    spool.append(operations.metrics({"a": 1.0}, 1, 0.0))
    assert spool.behind
    full = False
    spool.append(operations.metrics({"a": 2.0}, 2, 0.0))
    assert not spool.behind
    assert [o["s"] for o in read_all(spool.directory)[0]] == [0, 1, 2]


def test_partly_written_line_is_completed(spool, monkeypatch):
    real, room = os.write, 10
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:room]))
    spool.append(operations.metrics({"a": 0.0}, 0, 0.0))
    room = 10**6
    spool.append(operations.metrics({"a": 1.0}, 1, 0.0))
    found, end = read_all(spool.directory)
    assert [o["s"] for o in found] == [0, 1]
    assert end == spool.size


def test_store_that_dies_and_returns_gets_every_point_once(spool):
    fake = FakeClient()
    sender = Sender(SpoolReader(spool.directory), lambda: Delivery(fake, "r1", None), interval=0.01)
    for step in range(50):
        fake.down = 10 <= step < 40
        spool.append(operations.metrics({"loss": float(step), "acc": 1.0}, step, float(step)))
        sender.wake()
    assert sender.flush(spool.size, timeout=120)
    assert fake.points == {
        (key, step, step * 1000): value for step in range(50) for key, value in (("loss", step), ("acc", 1.0))
    }
    sender.close()


def test_flush_gives_up_in_time_when_the_store_stays_away(spool):
    fake = FakeClient()
    fake.down = True
    sender = Sender(SpoolReader(spool.directory), lambda: Delivery(fake, "r1", None), interval=0.01)
    spool.append(operations.metrics({"loss": 1.0}, 0, 0.0))
    assert not sender.flush(spool.size, timeout=0.3)
    assert isinstance(sender.last_error, ConnectionError)
    sender.close()


def test_points_are_sent_in_few_requests(spool):
    fake = FakeClient()
    for step in range(2500):
        spool.append(operations.metrics({"loss": 1.0, "acc": 0.5}, step, step / 7))
    sender = Sender(SpoolReader(spool.directory), lambda: Delivery(fake, "r1", None), interval=0.01)
    assert sender.flush(spool.size, timeout=120)
    assert len(fake.points) == 5000
    assert fake.calls <= 8  # 5 requests of 1000 points, and a remainder per chunk of the file
    sender.close()


def test_a_training_that_writes_while_it_is_sent_does_not_make_tiny_batches(spool):
    """Each request brings new points, as on a busy machine; chasing them would never end."""

    class Busy(FakeClient):
        def log_batch(self, run_id, metrics=(), params=(), tags=()):
            super().log_batch(run_id, metrics, params, tags)
            if self.calls < 100:
                spool.append(operations.metrics({"late": 1.0}, self.calls, self.calls))

    fake = Busy()
    spool.append(operations.metrics({"a": 1.0}, 0, 0.0))
    sender = Sender(SpoolReader(spool.directory), lambda: Delivery(fake, "r1", None), interval=1000)
    assert sender.flush(spool.size, timeout=120)
    assert fake.calls == 1
    assert sender.flush(spool.size, timeout=120)
    assert fake.calls == 2
    sender.close()


def test_refused_operation_is_noted_and_the_rest_sent():
    fake = FakeClient()
    fake.bad = {"no good"}
    delivery = Delivery(fake, "r1", None)
    delivery.send(
        [
            operations.params({"lr": "1"}),
            operations.metrics({"a": 0.0}, 0, 0.0),
            operations.metrics({"no good": 0.0}, 1, 0.0),
            operations.metrics({"a": 2.0}, 2, 0.0),
            operations.params({"lr": "2"}),
            operations.status("FINISHED"),
        ]
    )
    assert sorted(step for _, step, _ in fake.points) == [0, 2]
    assert fake.params == {"lr": "1"}
    assert fake.status == "FINISHED"
    assert len(delivery.refused) == 2


def test_replay_after_a_crash_before_the_note_doubles_nothing(spool):
    """The store has the points, but the process died before it wrote down that they were sent."""
    fake = FakeClient()
    for step in range(20):
        spool.append(operations.metrics({"a": float(step)}, step, step / 10))
    Delivery(fake, "r1", None).send(read_all(spool.directory)[0])
    before = dict(fake.points)
    spool.close()
    assert [r.state for r in sync(spool.directory.parent, client=fake)] == ["sent"]
    assert fake.points == before
    assert not spool.directory.exists()


def test_sync_leaves_living_runs_alone_and_marks_dead_ones(tmp_path):
    fake = FakeClient()
    alive = Spool(tmp_path / "alive", {"run_id": "alive", "tracking_uri": "x"})
    alive.append(operations.metrics({"a": 1.0}, 0, 0.0))
    dead = Spool(tmp_path / "dead", {"run_id": "dead", "tracking_uri": "x"})
    dead.append(operations.metrics({"a": 1.0}, 0, 0.0))
    # a killed process leaves folder and file, and the kernel takes back the lock
    dead._lock.release()
    results = {r.run_id: r for r in sync(tmp_path, client=fake)}
    assert results["alive"].state == "running"
    assert results["dead"].state == "sent"
    assert results["dead"].killed
    assert fake.status == "KILLED"
    assert "ProcessDied" in fake.tags.values()
    alive.close()


def test_sync_keeps_what_a_dead_store_does_not_take(spool):
    fake = FakeClient()
    fake.down = True
    spool.append(operations.metrics({"a": 1.0}, 0, 0.0))
    spool.close()
    (result,) = sync(spool.directory.parent, client=fake)
    assert result.state == "failed"
    assert SpoolReader(spool.directory).pending_bytes > 0
    fake.down = False
    (result,) = sync(spool.directory.parent, client=fake)
    assert result.state == "sent"


def test_artifacts_travel_through_the_spool(spool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "artifacts"
    file = spool.new_file("fit.yaml")
    file.write_text("a: 1\n")
    big = folders.checkpoint_dir("r1") / "last.ckpt"
    big.parent.mkdir(parents=True)
    big.write_bytes(b"x")
    operation = operations.artifact("config/fit.yaml", file, move=True)
    delivery = Delivery(FakeClient(), "r1", target, spool.directory)
    delivery.send([operation, operations.artifact("checkpoints/last.ckpt", big, move=False)])
    assert (target / "config" / "fit.yaml").read_text() == "a: 1\n"
    assert (target / "checkpoints" / "last.ckpt").exists()
    assert big.exists()
    assert not file.exists()
    delivery.send([operation])  # once more, after a crash: the source has gone, the artifact stays
    assert (target / "config" / "fit.yaml").exists()
    assert not delivery.refused


def test_meta_names_store_and_run(spool):
    assert json.loads((spool.directory / "meta.json").read_text())["run_id"] == "r1"
    (spool.directory / "meta.json").write_text("{")
    with pytest.raises(TrackingError, match=r"meta\.json"):
        _ = SpoolReader(spool.directory).meta
