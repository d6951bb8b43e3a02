"""KMNIST, SVHN and EMNIST, in small files of their true structure."""

import gzip
import hashlib
import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.io import savemat

import integrand.datamodules as dm
from integrand.datamodules.acquire.archives import read_members
from integrand.datamodules.acquire.lookup import load, locate
from integrand.datamodules.formats import FORMATS
from integrand.datamodules.formats.emnist import SUBSETS
from integrand.errors import DataError


def mat(images, labels):
    """A file as the authors of SVHN wrote it: the digit 0 is called 10."""
    buffer = io.BytesIO()
    named = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    savemat(buffer, {"X": images.transpose(2, 3, 1, 0), "y": named}, do_compression=True)
    return buffer.getvalue()


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return gzip.compress(header + array.tobytes())


def emnist_zip(arrays, subset):
    """An archive as NIST packs it: images lie on their side, letters count from 1."""
    first = 1 if subset == "letters" else 0
    names = {
        "images-idx3": lambda a: a[:, 0].transpose(0, 2, 1),
        "labels-idx1": lambda a: a + np.uint8(first),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for split in ("train", "test"):
            for (name, laid), key in zip(names.items(), ("images", "labels"), strict=True):
                data = idx(np.ascontiguousarray(laid(arrays[f"{split}_{key}"])))
                archive.writestr(f"gzip/emnist-{subset}-{split}-{name}-ubyte.gz", data)
    return buffer.getvalue()


def test_svhn_in_matlabs_format(small, tmp_path):
    card, arrays = small("svhn", 30, 20)
    files = {f"{s}_32x32.mat": mat(arrays[f"{s}_images"], arrays[f"{s}_labels"]) for s in ("train", "test")}
    folder = tmp_path / "SVHN"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(DataError, match="is not the published one"):
        load(card, locate(card, tmp_path))
    card = replace(card, file_sha256={name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    loaded = load(card, locate(card, tmp_path)).arrays
    for key, array in arrays.items():
        np.testing.assert_array_equal(loaded[key], array)


@pytest.mark.parametrize(
    "content",
    [
        {"X": np.zeros((32, 32, 3, 2), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1))},
        {"X": np.full((32, 32, 3, 2), 300.0), "y": np.ones((2, 1))},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.full((2, 1), 11)},
    ],
)
def test_other_files_of_matlab_are_refused(content):
    buffer = io.BytesIO()
    savemat(buffer, content)
    with pytest.raises(DataError, match=r"train_32x32\.mat"):
        FORMATS["svhn-mat"].read(lambda name: buffer.getvalue())
    with pytest.raises(DataError, match=r"train_32x32\.mat"):
        FORMATS["svhn-mat"].read(lambda name: buffer.getvalue()[:200])


@pytest.mark.parametrize("subset", SUBSETS)
def test_emnist_stands_upright_and_counts_from_0(small, subset, tmp_path):
    card, arrays = small(f"emnist-{subset}", 130, 70)
    path = tmp_path / "gzip.zip"
    path.write_bytes(emnist_zip(arrays, subset))
    layout = FORMATS[card.sources[0].format]
    members = read_members(path, card.sources[0].prefix, layout.members)
    read = layout.read(members.pop)
    for key, array in arrays.items():
        np.testing.assert_array_equal(read[key], array)


def test_a_subset_has_its_own_classes_and_its_own_whole_training_set(small, tmp_path, monkeypatch):
    card, arrays = small("emnist-letters", 130, 52)
    with zipfile.ZipFile(io.BytesIO(emnist_zip(arrays, "letters"))) as archive:
        for name in archive.namelist():
            (tmp_path / name.rpartition("/")[2]).write_bytes(archive.read(name))
    assert dm.EMNIST().spec.name == "emnist-balanced"
    assert dm.EMNIST(subset="byclass").spec.num_classes == 62
    monkeypatch.setattr(
        "integrand.datamodules.images.emnist.EMNIST_CARD", replace(dm.EMNIST.card, members=(card,))
    )
    data = dm.EMNIST(subset="letters", data_dir=str(tmp_path), device="cpu")
    data.setup()
    assert data.spec.class_names[:2] == ("a", "b")
    assert data.sizes == {"n_train": 117, "n_val": 13, "n_test": 52}
    images, labels = data.whole_train()
    assert torch.equal(images, torch.from_numpy(arrays["train_images"]))
    assert torch.equal(labels, torch.from_numpy(arrays["train_labels"].astype(np.int64)))


def test_kmnist_is_published_as_mnist_is(small, made, tmp_path):
    card, arrays = small("kmnist", 40, 20)
    made.write_folder(tmp_path / "KMNIST" / "raw", made.idx_files(arrays, packed=True))
    loaded = load(card, locate(card, tmp_path)).arrays
    np.testing.assert_array_equal(loaded["train_images"], arrays["train_images"])
    assert set(card.sources[0].sha256) == set(card.sources[0].files)


def test_a_member_of_a_collection_is_made_by_the_options_of_its_card():
    card = dm.find_card("emnist-letters")
    assert dm.load_class(card)(**card.options).spec == replace(
        card.spec, bin_widths=dm.EMNIST(subset="letters").spec.bin_widths
    )
    assert not dm.EMNIST.card.options
