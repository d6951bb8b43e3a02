"""A tracking server that is there and does badly: slow, or answering 500, between a training and a real server."""

import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from integrand.tracking.spool.sync import sync
from integrand.tracking.store.opening import open_store
from integrand.tracking.store.runs import read_record


class Proxy(ThreadingHTTPServer):
    """Hands requests on; `fault` may answer in its place, or take its time."""

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = target
        self.uri = f"http://127.0.0.1:{self.server_port}"
        self.delay = 0.0
        self.broken = False
        self.refused = 0
        self.under_way = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self):
        proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy.under_way += 1
        try:
            time.sleep(proxy.delay)
            if proxy.broken:
                proxy.refused += 1
                self._answer(
                    500, b'{"error_code": "INTERNAL_ERROR", "message": "made to fail"}', "application/json"
                )
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            asked = urllib.request.Request(
                proxy.target + self.path, data=body or None, headers=headers, method=self.command
            )
            try:
                with urllib.request.urlopen(asked, timeout=60) as found:
                    self._answer(found.status, found.read(), found.headers.get("Content-Type"))
            except urllib.error.HTTPError as error:
                self._answer(error.code, error.read(), error.headers.get("Content-Type"))
        finally:
            proxy.under_way -= 1

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _answer(self, code, body, kind):
        self.send_response(code)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def proxy(server, monkeypatch):
    # MLflow's client itself would try for minutes to get past a 500
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    made = Proxy(server.uri)
    yield made
    made.broken, made.delay = False, 0.0
    made.shutdown()


def steps_of(client, run_id, key):
    return [p.step for p in client.get_metric_history(run_id, key)]


def everything_once(client, run_id, epochs):
    assert client.get_run(run_id).info.status == "FINISHED"
    assert steps_of(client, run_id, "train/loss_step") == list(range(6 * epochs))
    assert steps_of(client, run_id, "val/acc") == [6 * e + 5 for e in range(epochs)]
    assert read_record(client, run_id).status == "FINISHED"


@pytest.mark.slow
def test_server_that_answers_500_for_a_while(proxy, tiny):
    class Outage(tiny.TinyModule):
        def on_train_epoch_start(self):
            proxy.broken = self.current_epoch in (2, 3)

    trainer = tiny.fit(epochs=6, every=1, model=Outage(pause=0.05), tracking_uri=proxy.uri, flush_every=0.1)
    assert proxy.refused > 0
    everything_once(open_store(proxy.target), trainer.logger.run_id, 6)


@pytest.mark.slow
def test_server_that_answers_500_for_good(proxy, tiny, caplog):
    class Outage(tiny.TinyModule):
        def on_train_epoch_start(self):
            proxy.broken = self.current_epoch >= 1

    arguments = {"tracking_uri": proxy.uri, "flush_every": 0.1, "exit_seconds": 1.0}
    trainer = tiny.fit(epochs=3, every=1, model=Outage(pause=0.05), **arguments)
    assert trainer.state.finished
    assert proxy.refused > 0
    # one line when it goes, one at the end
    said = [r.getMessage() for r in caplog.records if r.name.startswith("integrand")]
    assert [text.partition(" (")[0][:40] for text in said] == [
        "tracking: the store does not take record",
        "tracking: the store has not taken all of",
    ]
    assert "integrand sync" in said[-1]
    assert [r.state for r in sync()] == ["failed"], "what is refused stays"
    proxy.broken = False
    assert [r.state for r in sync()] == ["sent"]
    everything_once(open_store(proxy.target), trainer.logger.run_id, 3)


@pytest.mark.slow
def test_slow_server_does_not_hold_up_the_training(proxy, tiny):
    """Every request takes two seconds; the training makes all its steps while the first ones are under way."""
    waiting = []

    class Slow(tiny.TinyModule):
        def on_train_epoch_start(self):
            proxy.delay = 2.0

        def on_train_batch_end(self, *_):
            waiting.append(proxy.under_way)

    quick = {"flush_every": 0.05, "exit_seconds": 1.0}
    trainer = tiny.fit(epochs=4, every=1, model=Slow(pause=0.02), tracking_uri=proxy.uri, **quick)
    # a request was being answered during most of the steps, and no step waited for its answer
    assert len(waiting) == 24
    assert sum(waiting) > 12
    # what could not be sent within `exit_seconds` of the end has waited in the spool, which is locked until the
    # request that was under way then has its answer
    proxy.delay = 0.0
    deadline = time.monotonic() + 60
    while (states := {r.state for r in sync()}) == {"running"} and time.monotonic() < deadline:
        time.sleep(0.1)
    assert states <= {"sent"}
    everything_once(open_store(proxy.target), trainer.logger.run_id, 4)
