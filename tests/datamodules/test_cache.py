"""The cache: two processes at once, killed processes, full and read-only disks."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from integrand.datamodules import find_card
from integrand.datamodules.acquire import cache as caching
from integrand.datamodules.acquire.cache import cache_folder, locked, store
from integrand.datamodules.acquire.fetch import fetch
from integrand.datamodules.acquire.lookup import load, locate
from integrand.datamodules.formats import npz
from integrand.errors import DataError


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("INTEGRAND_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "a" / "data"
    monkeypatch.delenv("INTEGRAND_CACHE")
    assert cache_folder() == tmp_path / "b" / "integrand" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c" / ".cache" / "integrand" / "data"


FETCHER = """
import sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from integrand.datamodules import find_card
from integrand.datamodules.acquire import fetch as fetching
log = Path({log!r})
card = replace(find_card("fashion-mnist"), digests={{}})
arrays = {{"train_images": np.zeros((60, 1, 28, 28), np.uint8)}}
def obtain(card, source, scratch, report):
    with log.open("a") as file: file.write("begin\\n")
    time.sleep(1.0)
    with log.open("a") as file: file.write("end\\n")
    return arrays, "made"
fetching._obtain = obtain
Path({ready!r}).joinpath(sys.argv[1]).touch()
while len(list(Path({ready!r}).iterdir())) < 2: time.sleep(0.01)
print(fetching.fetch(card, "apt").path)
"""


def test_two_processes_fetch_once(tmp_path, cache):
    (tmp_path / "ready").mkdir()
    log = tmp_path / "log"
    code = FETCHER.format(log=str(log), ready=str(tmp_path / "ready"))
    both = [
        subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in "ab"
    ]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()[-2000:]
        assert out.decode().strip() == str(cache / "fashion-mnist.npz")
    assert log.read_text().split() == ["begin", "end"], "the second waited and found it done"
    arrays, _ = npz.read((cache / "fashion-mnist.npz").read_bytes(), "cache")
    assert arrays["train_images"].shape == (60, 1, 28, 28)


def test_a_killed_process_leaves_no_lock_and_its_scratch_is_cleared(cache):
    code = (
        "import time\nfrom integrand.datamodules.acquire.cache import locked\n"
        "with locked('x') as scratch:\n    (scratch / 'half').write_bytes(b'0' * 99)\n"
        "    print(scratch, flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    left_over = Path(process.stdout.readline().strip())
    process.kill()
    process.wait()
    assert left_over.is_dir()
    started = time.monotonic()
    with locked("x") as scratch:
        assert not left_over.exists()
        assert scratch.is_dir()
    assert time.monotonic() - started < 30, "the lock went with the process"
    assert not scratch.exists()


def test_a_reader_never_sees_half_a_file(cache, monkeypatch):
    """While the new file is being written, the old one stays whole in its place."""
    path = cache / "x.npz"
    with locked("x") as scratch:
        store(path, scratch, {"a": np.zeros(10, np.uint8)}, {})
    old = path.read_bytes()

    def dies(file, arrays, meta):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(caching.npz, "write", dies)
    with locked("x") as scratch, pytest.raises(DataError, match="no room left while writing") as caught:
        store(path, scratch, {"a": np.ones(10, np.uint8)}, {})
    assert "INTEGRAND_CACHE" in caught.value.remedy
    assert path.read_bytes() == old
    assert sorted(p.name for p in cache.iterdir()) == [".x.lock", "x.npz"]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_cache_is_named(monkeypatch, code):
    def refuses(self, *args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuses)
    with pytest.raises(DataError, match="cannot be written: ") as caught:
        fetch(find_card("fashion-mnist"), "apt")
    assert caught.value.remedy.startswith("set INTEGRAND_CACHE")


def test_a_file_where_the_cache_should_be(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INTEGRAND_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written"):
        fetch(find_card("fashion-mnist"), "apt")


def test_a_read_only_cache_can_still_be_read(fashion, cache, monkeypatch):
    card, arrays = fashion
    with locked(card.name) as scratch:
        store(cache / card.file_name, scratch, arrays, {})

    def refuses(*args, **kwargs):
        raise AssertionError("reading must not write")

    monkeypatch.setattr(Path, "mkdir", refuses)
    monkeypatch.setattr(caching, "FileLock", refuses)
    assert len(load(card, locate(card)).arrays["train_images"]) == 60


def test_an_unreadable_file_is_named(fashion, cache, monkeypatch):
    card, arrays = fashion
    with locked(card.name) as scratch:
        store(cache / card.file_name, scratch, arrays, {})

    def refuses(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuses)
    with pytest.raises(DataError, match=r"fashion-mnist\.npz cannot be read"):
        load(card, locate(card))
