"""What answers in place of a tracking server: nonsense, without end, from elsewhere, or with paths of its choice."""

import contextlib
import http.server
import json
import threading

import pytest

from integrand.errors import TrackingError
from integrand.tracking.store import answers
from integrand.tracking.store.opening import open_store


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with contextlib.suppress(OSError):
            self.server.answer(self)

    do_POST = do_GET

    def log_message(self, *arguments):
        pass


def text(status, content):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def dripping(handler):
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def circle(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def cut(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")


NONSENSE = {
    "500": text(500, b"oh"),
    "nothing": text(200, b""),
    "a page": text(200, b"<html>hello</html>"),
    "a list": text(200, b"[1]"),
    "other kinds": text(200, json.dumps({"experiments": 7}).encode()),
    "deep": text(200, b"[" * 100_000),
    "no text": text(200, b"\xff\xfe\x00"),
    "without end": endless,
    "drop by drop": dripping,
    "in a circle": circle,
    "cut": cut,
}


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.over = True, threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()

    def serve(answer):
        server.answer = answer
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_one_line_within_seconds(address, name, monkeypatch):
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.3)
    with pytest.raises(TrackingError) as raised:
        open_store(address(NONSENSE[name]))
    assert "\n" not in str(raised.value)
    assert "127.0.0.1" in str(raised.value)
