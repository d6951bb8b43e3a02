"""Arrays: keys and shapes that are guessed, scales of the training part, and what is refused."""

import pickle
import re
import zipfile

import numpy as np
import pytest
import torch

import integrand.datamodules as dm
from integrand.datamodules.own import array_files
from integrand.datamodules.own.stores import ArrayRows, Stacked, moments
from integrand.errors import UsageError
from integrand.spec import Classes, Density, ImageSpec, Targets, VectorSpec

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(1e6, 3.0, (60, 4))
LABELS = np.arange(60) % 3


@pytest.fixture
def write(tmp_path):
    """Arrays by name -> path of a .npz."""

    def write(**arrays):
        path = tmp_path / "own.npz"
        np.savez(path, **arrays)
        return str(path)

    return write


def batch(data, split="train"):
    return next(iter(getattr(data, f"{split}_dataloader")()))


def test_vectors_are_scaled_by_their_training_rows_in_float64(write, caplog):
    data = dm.Arrays(write(x=VECTORS, y=LABELS), batch_size=60)
    assert data.spec == VectorSpec("own", Classes(3, ("0", "1", "2")), 4)
    x, y = batch(data)
    assert len(x) == data.sizes["n_train"] == 39
    # a mean of a million in float32 would leave errors of 0.1 / 3
    torch.testing.assert_close(x.mean(dim=0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std(dim=0, correction=0), torch.ones(4), atol=1e-6, rtol=0)
    rows = data.collection.rows["train"][_order(data)]
    np.testing.assert_allclose(np.sort(data.denormalise(x.double()), 0), np.sort(VECTORS[rows], 0), atol=1e-5)
    assert y.dtype == torch.int64
    assert "arrays guessed: all: inputs x, answers y" in caplog.text
    assert "data.question: targets" in caplog.text


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (RNG.integers(0, 256, (30, 8, 8), dtype=np.uint8), (1, 8, 8)),
        (RNG.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8), (3, 8, 8)),
        (RNG.integers(0, 256, (30, 3, 8, 8), dtype=np.uint8), (3, 8, 8)),
        (RNG.random((30, 8, 8)), (1, 8, 8)),
    ],
)
def test_images_in_any_usual_order_of_axes(write, array, shape):
    data = dm.Arrays(write(images=array, labels=np.arange(30) % 2), batch_size=100)
    assert isinstance(data.spec, ImageSpec)
    assert data.spec.shape == shape
    assert bool(data.spec.bin_widths) == (array.dtype == np.uint8)
    x, _ = batch(data)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.mean(dim=(0, 2, 3)), torch.zeros(shape[0]), atol=1e-5, rtol=0)
    raw = array[data.collection.rows["test"][0]] / (255 if array.dtype == np.uint8 else 1)
    first = batch(data, "test")[0][0]
    channels_first = raw[None] if raw.ndim == 2 else (raw if raw.shape[0] == 3 else raw.transpose(2, 0, 1))
    np.testing.assert_allclose(data.denormalise(first).numpy(), channels_first, atol=1e-5)


def _order(data):
    return list(data.train_dataloader().sampler)


def test_keys_of_parts_decide_the_split_and_parts_stay_apart(write):
    path = write(x_train=VECTORS[:40], y_train=LABELS[:40], x_test=VECTORS[40:], y_test=LABELS[40:])
    data = dm.Arrays(path)
    assert data.sizes == {"n_train": 34, "n_val": 6, "n_test": 20}
    assert data.ids[0] == "test/0"
    x, y = batch(data, "test")
    mean, std = (np.array(data.description[k]) for k in ("mean", "std"))
    np.testing.assert_allclose(x.numpy(), (VECTORS[40:] - mean) / std, rtol=1e-5, atol=1e-5)
    assert y.tolist() == LABELS[40:].tolist()


def test_a_folder_of_npy_files_stays_on_disk(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for part, rows in (("train", slice(0, 40)), ("test", slice(40, 60))):
        np.save(folder / f"{part}_x.npy", VECTORS[rows])
        np.save(folder / f"{part}_y.npy", LABELS[rows].astype(str))
    data = dm.Arrays(str(folder))
    assert data.spec.class_names == ("0", "1", "2")
    pieces = data.collection.inputs.array.pieces
    assert all(isinstance(piece, np.memmap) for piece in pieces)


def test_stacked_rows_are_those_of_the_concatenation():
    pieces = [np.arange(5.0)[:, None], np.arange(5.0, 7)[:, None], np.arange(7, 12)[:, None]]
    stacked, whole = Stacked(pieces), np.concatenate(pieces)
    at = np.array([11, 0, 6, 5, 4, 7, 7])
    np.testing.assert_array_equal(stacked[at], whole[at])
    np.testing.assert_array_equal(stacked[3:9], whole[3:9])


def test_moments_of_blocks_are_those_of_all(monkeypatch):
    values = RNG.normal(5, 2, (100, 3, 4, 4))
    monkeypatch.setattr(
        "integrand.datamodules.own.stores._BLOCK", 8 * 48 * 7
    )  # 7 samples: the last block is short
    rows = np.arange(0, 100, 2)
    mean, std = moments(ArrayRows(values, values.shape), rows)
    np.testing.assert_allclose(mean, values[rows].mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, values[rows].std(axis=(0, 2, 3)), rtol=1e-12)


def test_without_answers_the_distribution_is_asked_for(tmp_path):
    np.save(tmp_path / "points.npy", RNG.normal(size=(50, 2)))
    data = dm.Arrays(str(tmp_path / "points.npy"), batch_size=7)
    assert data.spec == VectorSpec("points", Density(), 2)
    assert batch(data).shape == (7, 2)


@pytest.mark.parametrize(
    ("y", "options", "question"),
    [
        (np.linspace(0, 1, 60), {}, Targets),
        (np.arange(60), {}, Targets),
        (np.arange(60) % 3, {"question": "targets"}, Targets),
        (np.arange(60) % 3 == 0, {}, Classes),
        (np.array(["a", "b"])[np.arange(60) % 2], {}, Classes),
        (np.arange(60) % 3 + 0.0, {}, Classes),
        (np.linspace(0, 1, 120).reshape(60, 2), {}, Targets),
    ],
)
def test_answers_decide_the_question(write, y, options, question):
    data = dm.Arrays(write(x=VECTORS, y=y), batch_size=60, **options)
    assert isinstance(data.spec.question, question)
    _, answers = batch(data)
    if question is Targets:
        asked = data.spec.question
        rows = data.collection.rows["train"][_order(data)]
        raw = answers.double().numpy() * asked.scales + asked.shifts
        # the next epoch has another order, so as sets
        np.testing.assert_allclose(
            np.sort(raw, axis=0), np.sort(y[rows].reshape(len(rows), -1), axis=0), atol=1e-5
        )
        torch.testing.assert_close(
            answers.std(dim=0, correction=0), torch.ones(asked.size), atol=1e-5, rtol=0
        )


def test_a_description_scales_new_vectors_as_in_training(write):
    trained = dm.Arrays(write(x=VECTORS, y=LABELS)).description
    new = dm.Arrays(write(x=VECTORS[:3] + 1, names=np.array(["p", "q", "r"])), described=trained)
    assert new.ids == ["p", "q", "r"]
    expected = (VECTORS[:3] + 1 - trained["mean"]) / np.array(trained["std"])
    np.testing.assert_allclose(batch(new, "predict").numpy(), expected, rtol=1e-5)
    with pytest.raises(UsageError, match=r"samples of shape \(2,\), and the model takes \(4,\)"):
        dm.Arrays(write(x=VECTORS[:, :2]), described=trained).setup()


class Harm:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def spoilt(x, value):
    """Floats with one value of sample 7 replaced."""
    x = x.astype(np.float64)
    x[7, 1] = value
    return x


IMAGES = RNG.random((60, 8, 8))
BAD = {
    "objects": ({"x": np.array([Harm()] * 3, dtype=object)}, {}, "holds Python objects", "give numbers"),
    "nan": ({"x": spoilt(VECTORS, np.nan), "y": LABELS}, {}, r"sample 7 \(counted from 0\) holds NaN", "leave it out"),
    "infinite in float32": ({"x": spoilt(VECTORS, -1e39), "y": LABELS}, {}, r"sample 7 .* beyond ±3e\+38", "leave it out"),
    "nan in an image": ({"x": spoilt(IMAGES, np.nan), "y": LABELS}, {}, r"sample 7 \(counted from 0\) holds NaN", "leave it out"),
    "half": ({"x": spoilt(IMAGES, np.inf).astype(np.float16), "y": LABELS}, {}, r"sample 7 .* holds NaN", "leave it out"),
    "infinite answer": ({"x": VECTORS, "y": np.where(LABELS == 1, np.inf, LABELS + 0.5)}, {}, "sample 2 has no answer, or none that is finite", "fill in y"),
    "answer beyond float32": ({"x": VECTORS, "y": np.where(LABELS == 1, 1e300, LABELS + 0.5)}, {}, "sample 2 has no answer", "fill in y"),
    "lengths": ({"x": VECTORS, "y": LABELS[:-1]}, {}, r"x has 60 samples, and y has the shape \(59,\)", "one answer for each"),
    "text": ({"x": VECTORS.astype(str), "y": LABELS}, {}, "no numbers", "uint8 or float32"),
    "complex": ({"x": VECTORS + 0j, "y": LABELS}, {}, "holds complex128, no numbers", "float32"),
    "flat": ({"x": VECTORS[:, 0], "y": LABELS}, {}, r"x has the shape \(60,\)", "samples, features"),
    "axes": ({"x": RNG.random((60, 8, 8, 5)), "y": LABELS}, {}, "neither vectors nor images", "1 or 3 channels"),
    "no inputs": ({"p": VECTORS, "q": LABELS}, {}, "none of its arrays p, q is called like inputs", "data.inputs"),
    "key": ({"x": VECTORS, "y": LABELS}, {"answers": "z"}, "has no array 'z': set data.answers", "it has x, y"),
    "one class": ({"x": VECTORS, "y": LABELS * 0}, {}, "every sample is of class '0'", "two classes"),
    "constant": ({"x": VECTORS, "y": LABELS * 0 + 0.5}, {}, "target y is 0.5 everywhere", "nothing is to be learned"),
    "no answer": ({"x": VECTORS, "y": np.where(LABELS == 1, np.nan, LABELS + 0.5)}, {}, "sample 2 has no answer", "fill in y"),
    "few": ({"x": VECTORS[:2], "y": np.arange(2)}, {}, "2 samples are too few to split", "ten or more"),
    "shapes": ({"x_train": VECTORS, "x_test": VECTORS[:, :2]}, {}, "samples of different shapes", "one shape"),
    "no train": ({"x_val": VECTORS, "x_test": VECTORS}, {}, "no sample is in train", "name a part train"),
    "flat images": ({"x": np.ones((60, 8, 8)), "y": LABELS}, {}, "every pixel of a channel is alike", "show something"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_right_is_refused_with_remedy(write, case):
    arrays, options, message, remedy = BAD[case]
    with pytest.raises(UsageError, match=message) as caught:
        dm.Arrays(write(**arrays), **options).setup()
    assert re.search(remedy, caught.value.remedy)
    assert "own.npz" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"no archive", pickle.dumps([1]), b"PK\x03\x04 cut"])
@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_files_that_hold_no_arrays_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=f"{re.escape(name)} cannot be read as arrays"):
        dm.Arrays(str(tmp_path / name)).setup()


def test_a_header_that_promises_more_than_there_is_makes_no_room(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 4)))
    whole = (tmp_path / "x.npy").read_bytes().replace(b"(4, 4)", b"(4000000000000, 4)"[:6].ljust(6))
    whole = whole.replace(b"'shape': (4000", b"'shape': (9**9")
    (tmp_path / "x.npy").write_bytes(whole)
    with pytest.raises(UsageError, match="cannot be read as arrays"):
        dm.Arrays(str(tmp_path / "x.npy")).setup()
    member = tmp_path / "y.npy"
    with member.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"shape": (1 << 40, 4), "fortran_order": False, "descr": "<f8"}
        )
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.write(member, "x.npy")
    with pytest.raises(UsageError, match=r"y\.npz, x\.npy is cut short"):
        dm.Arrays(str(tmp_path / "y.npz")).setup()


def test_an_archive_that_would_fill_the_memory_is_refused_unread(write, monkeypatch):
    monkeypatch.setattr(array_files, "LARGEST", 100)
    with pytest.raises(UsageError, match="unfolds to") as caught:
        dm.Arrays(write(x=VECTORS, y=LABELS)).setup()
    assert "save each array as .npy" in caught.value.remedy
