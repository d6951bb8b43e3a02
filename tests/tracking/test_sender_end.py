"""A sender that is closed while a request is under way: nothing of it overtakes what others send later."""

import threading

import pytest

from integrand.errors import TrackingError
from integrand.tracking.spool import operations
from integrand.tracking.spool.delivery import Delivery
from integrand.tracking.spool.reader import SpoolReader
from integrand.tracking.spool.sender import Sender
from integrand.tracking.spool.spool import Spool
from integrand.tracking.spool.sync import sync

META = {"run_id": "r1", "tracking_uri": "x", "artifact_dir": None}


class HeldClient:
    """Takes what it is sent when the test lets it; `steps` holds what arrived, in order."""

    def __init__(self):
        self.asked, self.answer = threading.Event(), threading.Event()
        self.steps = []

    def set_tag(self, run_id, key, value):
        self.asked.set()
        assert self.answer.wait(30)
        self.steps.append((key, value))

    def set_terminated(self, run_id, status, end_time):
        self.steps.append(("status", status))

    def get_run(self, run_id):
        from types import SimpleNamespace

        return SimpleNamespace(info=SimpleNamespace(status=self.steps[-1][1]))


@pytest.fixture
def held(tmp_path):
    """A spool with a name and an end to send, its sender, and a store that holds the first request."""
    client = HeldClient()
    spool = Spool(tmp_path / "spool" / "r1", META)
    spool.append(operations.name("a-name"))
    spool.append(operations.status("FINISHED"))
    sender = Sender(SpoolReader(spool.directory), lambda: Delivery(client, "r1", None), interval=0.01)
    assert client.asked.wait(30)
    yield client, spool, sender
    client.answer.set()
    sender.close(spool.close)


def test_spool_stays_locked_until_the_last_request_is_answered(held):
    client, spool, sender = held
    sender.close(spool.close)
    assert [r.state for r in sync(spool.directory.parent, client=client)] == ["running"]
    with pytest.raises(TrackingError, match="another process"):
        Spool(spool.directory, META)
    client.answer.set()
    sender._thread.join(30)
    # what came behind the request is left to the next sender
    assert client.steps == [("mlflow.runName", "a-name")]
    assert [r.state for r in sync(spool.directory.parent, client=client)] == ["sent"]
    assert client.steps[-1] == ("status", "FINISHED")
    assert not spool.directory.exists()


def test_closed_sender_goes_on_if_its_request_is_still_under_way(held):
    client, spool, sender = held
    sender.close(spool.close)
    assert sender.go_on()
    client.answer.set()
    assert sender.flush(spool.whole, timeout=30)
    assert client.steps[-1] == ("status", "FINISHED")
    sender.close(spool.close)
    assert not sender.go_on()
    assert not spool.directory.exists(), "the store has everything"
