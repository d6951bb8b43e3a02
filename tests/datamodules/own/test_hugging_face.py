"""Data sets of the library `datasets`, saved in a folder; the hub itself is not asked."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import integrand.datamodules as dm
from integrand.datamodules.own.guess import guess
from integrand.errors import UsageError
from integrand.spec import Classes, Targets


def png(level):
    data = io.BytesIO()
    noise = np.random.default_rng(level).integers(0, 30, (8, 10))
    Image.fromarray((level + noise).astype(np.uint8)).save(data, format="PNG")
    return {"bytes": data.getvalue(), "path": None}


@pytest.fixture
def saved(tmp_path):
    """A folder with 20 training and 6 test images of two classes."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "bright"])}
    )

    def split(n):
        rows = {"image": [png(40 + 150 * (i % 2) + i) for i in range(n)], "label": [i % 2 for i in range(n)]}
        return datasets.Dataset.from_dict(rows, features=features)

    folder = tmp_path / "levels"
    datasets.DatasetDict({"train": split(20), "test": split(6)}).save_to_disk(str(folder))
    return str(folder)


def batch(data, split="train"):
    return next(iter(getattr(data, f"{split}_dataloader")()))


def test_images_classes_and_splits_are_those_of_the_data_set(saved):
    assert guess(saved).class_name == "HuggingFace"
    data = dm.HuggingFace(saved, batch_size=20)
    assert data.spec.question == Classes(2, ("dark", "bright")), "in the order of the data set"
    assert data.spec.shape == (1, 8, 8)
    assert data.spec.name == "levels"
    assert data.sizes == {"n_train": 17, "n_val": 3, "n_test": 6}
    x, y = batch(data, "test")
    assert y.tolist() == [0, 1, 0, 1, 0, 1]
    expected = torch.from_numpy(np.array(Image.open(io.BytesIO(png(40)["bytes"]))))[:, 1:9] / 255
    torch.testing.assert_close(data.denormalise(x[0])[0], expected, atol=1e-5, rtol=0)


def test_one_split_is_held_out_of_by_shares(saved):
    assert dm.HuggingFace(saved, split="train").sizes == {"n_train": 13, "n_val": 3, "n_test": 4}
    with pytest.raises(UsageError, match=r"has no split 'tset': set data\.split") as caught:
        dm.HuggingFace(saved, split="tset").setup()
    assert "train, test" in caught.value.remedy


def test_without_images_the_columns_are_a_table(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {
        "size": list(np.linspace(0, 1, 30)),
        "colour": ["red", "blue", "blue"] * 10,
        "price": list(range(30)),
    }
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "prices"))
    data = dm.HuggingFace(str(tmp_path / "prices"), target="price")
    assert isinstance(data.spec.question, Targets)
    assert data.description["features"] == ["size", "colour=blue", "colour=red"]
    assert batch(data)[0].shape == (20, 3)


def test_what_cannot_be_had_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="beans is no folder, and INTEGRAND_OFFLINE forbids the download"):
        dm.HuggingFace("beans").setup()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match="needs the package datasets") as caught:
        dm.HuggingFace(str(tmp_path)).setup()
    assert caught.value.remedy == "pip install 'integrand[hf]'"


def test_a_folder_without_a_data_set_and_a_wrong_column(saved, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="cannot be loaded"):
        dm.HuggingFace(str(tmp_path / "empty")).setup()
    with pytest.raises(UsageError, match=r"has no column 'kind': set data\.target"):
        dm.HuggingFace(saved, target="kind").setup()
