"""Folders of images: what is inferred, from which part, and what is refused in one line."""

import logging
import re

import numpy as np
import pytest
import torch
from PIL import Image

import integrand.datamodules as dm
from integrand.cli.main import main
from integrand.datamodules.own import stores
from integrand.errors import UsageError
from integrand.spec import Classes, Density


def picture(path, level=100, size=(12, 10), mode="L", seed=None):
    """A picture of noise around a level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(level if seed is None else seed)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    pixels = (level + rng.integers(-20, 20, shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """20 dark and 20 bright grey pictures, by class."""
    root = tmp_path / "levels"
    for i in range(20):
        picture(root / "dark" / f"{i}.png", 50 + i)
        picture(root / "bright" / f"{i}.png", 180 + i)
    return root


@pytest.mark.parametrize("value", [np.nan, 0.5])
def test_a_picture_of_floats_is_refused(folder, value):
    """Whether 1 or 255 is white nobody says: as bytes, values up to 1 would all be black."""
    Image.fromarray(np.full((9, 9), value, dtype=np.float32)).save(folder / "dark" / "f.tiff")
    with pytest.raises(UsageError, match=r"f\.tiff is a picture of floating-point numbers") as caught:
        read(folder).setup()
    assert "8 or 16 bits" in caught.value.remedy


def read(folder, **options):
    return dm.ImageFolder(str(folder), **options)


def batch(data, split="train"):
    return next(iter(getattr(data, f"{split}_dataloader")()))


def test_classes_shape_and_scale_are_inferred_said_once_and_recorded(folder, caplog):
    data = read(folder, batch_size=26)
    with caplog.at_level(logging.WARNING):
        assert data.spec.question == Classes(2, ("bright", "dark"))
        x, y = batch(data)
    assert data.spec.name == "levels"
    assert data.spec.shape == (1, 10, 10), "the shorter side, in the middle of the longer one"
    assert data.sizes == {"n_train": 26, "n_val": 6, "n_test": 8}
    said = [r.message.removeprefix(f"{folder}: ") for r in caplog.records]
    assert said[0] == "images of one size (most 12×10) are brought to 10×10 (data.side), data.fit: crop"
    assert re.match(r"40 images, grey; mean 0\.\d+, deviation 0\.\d+ of 26 training images", said[1])
    assert said[2:] == ["26 train, 6 val, 8 test; val and test held out by data.split_seed 0"]
    assert len(x) == 26
    assert y.dtype == torch.int64
    assert abs(float(x.mean())) < 1e-4
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert data.spec.bin_widths[0] == pytest.approx(1 / (255 * data.description["std"][0]))
    assert 0 <= float(data.denormalise(x).min()) < float(data.denormalise(x).max()) <= 1


def test_scale_follows_from_the_training_part_alone(folder):
    before = read(folder)
    test = [before.collection.ids[i] for i in before.collection.rows["test"]]
    for name in test:
        picture(folder / name, 250)
    after = read(folder)
    assert after.description == before.description
    after.setup()
    before.setup()
    assert after.digest != before.digest, "the content is another one"


def test_each_part_keeps_the_share_of_each_class_whatever_the_seed_of_the_run(folder):
    for split in ("train", "val", "test"):
        _, y = batch(read(folder), split)
        assert int(y.sum()) * 2 == len(y)
    rows = [
        read(folder, seed=s, split_seed=k).collection.rows["test"].tolist()
        for s, k in ((0, 0), (1, 0), (0, 1))
    ]
    assert rows[0] == rows[1] != rows[2]


def test_folders_decide_the_split_and_what_is_missing_is_held_out(tmp_path):
    for part, n in (("train", 20), ("Test", 4)):
        for i in range(n):
            picture(tmp_path / "set" / part / f"c{i % 2}" / f"{i}.png", 100 + i)
    data = read(tmp_path / "set")
    assert data.sizes == {"n_train": 17, "n_val": 3, "n_test": 4}
    assert all(name.startswith("Test/") for name in data.ids)


def test_a_colour_picture_makes_all_of_them_rgb_and_grey_is_an_option(folder):
    picture(folder / "dark" / "red.jpg", mode="RGB")
    assert read(folder).spec.shape == (3, 10, 10)
    assert read(folder, colour="grey", side=8, fit="stretch").spec.shape == (1, 8, 8)


def test_sixteen_bits_are_not_clipped(tmp_path):
    levels = np.linspace(0, 65535, 64 * 20).astype(np.uint16).reshape(20, 8, 8)
    for i, level in enumerate(levels):
        path = tmp_path / "s" / f"c{i % 2}" / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(level).save(path)
    data = read(tmp_path / "s", batch_size=20)
    whole = data.collection.inputs.index_select(0, torch.arange(20))
    expected = np.concatenate([levels[0::2], levels[1::2]]) >> 8
    np.testing.assert_array_equal(whole[:, 0].numpy(), expected.reshape(20, 8, 8))


def test_pictures_without_folders_ask_for_their_distribution(tmp_path):
    for i in range(10):
        picture(tmp_path / "flat" / f"{i}.bmp", 100 + i)
    data = read(tmp_path / "flat", batch_size=5)
    assert data.spec.question == Density()
    assert batch(data).shape == (5, 1, 10, 10)


def test_a_set_too_large_to_keep_is_decoded_each_time(folder, monkeypatch):
    kept = batch(read(folder), "test")
    monkeypatch.setattr(stores, "KEPT", 0)
    data = read(folder)
    assert data.collection.inputs._kept is None
    torch.testing.assert_close(batch(data, "test"), kept, rtol=0, atol=0)


def test_other_files_are_said_and_left_out(folder, caplog):
    (folder / "dark" / "notes.txt").write_text("x")
    (folder / "dark" / ".hidden").write_text("x")
    picture(folder / "beside.png")
    assert len(read(folder).collection.ids) == 40
    assert "files that are no images are left out (1 .txt)" in caplog.text
    assert "images in no class folder are left out (1)" in caplog.text


def test_a_description_serves_new_pictures_with_and_without_classes(folder, tmp_path):
    trained = read(folder).description
    picture(tmp_path / "new" / "b.png", 60, (30, 40))
    picture(tmp_path / "new" / "a.png", 200)
    new = read(tmp_path / "new", described=trained)
    assert new.ids == ["a.png", "b.png"]
    x = batch(new, "predict")
    assert x.shape == (2, 1, 10, 10)
    pixels = new.collection.inputs.index_select(0, torch.tensor([0])).float()
    expected = (pixels / 255 - trained["mean"][0]) / trained["std"][0]
    torch.testing.assert_close(x[:1], expected, rtol=1e-5, atol=1e-5)
    picture(tmp_path / "known" / "dark" / "a.png", 60)
    _, y = batch(read(tmp_path / "known", described=trained), "predict")
    assert y.tolist() == [1], "as the classes of the training are numbered"
    with pytest.raises(UsageError, match="described by an earlier training"):
        new.train_dataloader()


def test_a_class_of_one_picture_is_trained_on_and_said(folder, caplog):
    picture(folder / "rare" / "0.png")
    data = read(folder)
    assert "rare/0.png" in [data.collection.ids[i] for i in data.collection.rows["train"]]
    assert "test has no sample of class rare" in caplog.text


def test_a_mixture_of_known_and_other_folders_has_no_truth(folder, tmp_path, caplog):
    trained = read(folder).description
    picture(tmp_path / "new" / "dark" / "a.png")
    picture(tmp_path / "new" / "blue" / "a.png")
    new = read(tmp_path / "new", described=trained)
    assert new.collection.answers is None
    assert "no true classes are taken" in caplog.text


def _empty_class(root):
    (root / "none").mkdir()


def _text_class(root):
    (root / "none").mkdir()
    (root / "none" / "a.txt").write_text("x")


def _broken(root):
    (root / "dark" / "5.png").write_bytes(b"no image")


def _one_class(root):
    for file in (root / "bright").iterdir():
        file.unlink()
    (root / "bright").rmdir()


def _parts_differ(root):
    for name, to in (("dark", "train"), ("bright", "test")):
        (root / to).mkdir()
        (root / name).rename(root / to / name)
        picture(root / to / "both" / "0.png")
        picture(root / to / "both" / "1.png")


def _nothing(root):
    for name in ("dark", "bright"):
        for file in (root / name).iterdir():
            file.unlink()
        (root / name).rmdir()


def _flat(root):
    for file in root.rglob("*.png"):
        Image.new("L", (8, 8), 7).save(file)


BAD = {
    "empty class": (_empty_class, {}, "none holds no images", "delete the folder"),
    "class without images": (_text_class, {}, "none holds no images", "put images into it"),
    "damaged": (_broken, {}, r"dark/5.png cannot be read as an image", "mend it"),
    "one class": (_one_class, {}, "every sample is of class 'dark'", "two classes"),
    "parts": (_parts_differ, {}, "test has samples of class bright, and train has none", "alike in all parts"),
    "nothing": (_nothing, {}, "holds no images", "give PNG"),
    "flat": (_flat, {}, "every pixel of a channel is alike", "show something"),
    "side": (lambda root: None, {"side": 0}, "side=0 makes no images", "data.side"),
    "shares": (lambda root: None, {"val_fraction": 0.9}, "val_fraction=0.9 and test_fraction=0.2", "positive shares"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_right_is_refused_with_file_and_remedy(folder, case):
    harm, options, message, remedy = BAD[case]
    harm(folder)
    with pytest.raises(UsageError, match=message) as caught:
        read(folder, **options).setup()
    assert re.search(remedy, caught.value.remedy)
    assert caught.value.exit_code == 2


def test_a_picture_cut_short_is_named_when_it_is_read(folder):
    whole = (folder / "dark" / "3.png").read_bytes()
    (folder / "dark" / "3.png").write_bytes(whole[: len(whole) // 2])
    data = read(folder, side=10)

    def everything():
        return [list(getattr(data, f"{split}_dataloader")()) for split in ("train", "val", "test")]

    with pytest.raises(UsageError, match=r"dark/3.png cannot be read as an image: .*truncated"):
        everything()


def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header(folder, monkeypatch):
    monkeypatch.setattr("integrand.datamodules.own.pictures.LARGEST", 1000)
    picture(folder / "dark" / "huge.png", size=(40, 30))
    with pytest.raises(UsageError, match=r"huge\.png is a picture of 40 by 30 pixels"):
        _ = read(folder).spec


@pytest.mark.parametrize("path", ["nowhere", "notes.txt"])
def test_a_wrong_path_is_one_line(tmp_path, monkeypatch, capsys, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("do not show this" * 1000)
    code = main(["fit", "--model", "ResNet", "--data", "ImageFolder", "--data.path", path])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert error.startswith(f"integrand: error: {path} is no")
    assert "set data.path" in error
    assert len(error) < 300


def test_a_model_of_a_published_set_is_asked_about_pictures_in_files(tmp_path):
    published = dm.Digits(device="cpu")
    described = published.state_dict()["described"]
    image = published.denormalise(batch(published, "test")[0][0])[0]
    (tmp_path / "new").mkdir()
    Image.fromarray((image.numpy() * 255).round().astype(np.uint8)).save(tmp_path / "new" / "a.png")
    x = batch(read(tmp_path / "new", described=described), "predict")
    # the same picture in steps of 1/255
    torch.testing.assert_close(x[0], batch(published, "test")[0][0], atol=0.5 / 255 / 0.37, rtol=0)


def test_the_whole_training_part_as_bytes(folder, tmp_path):
    data = read(folder, side=10)
    images, labels = data.whole_train()
    assert images.dtype == torch.uint8
    assert images.shape == (26, 1, 10, 10)
    torch.testing.assert_close(data.some("train", 26)[1].sort().values, labels.sort().values)
    for i in range(10):
        picture(tmp_path / "flat" / f"{i}.png", 100 + i)
    with pytest.raises(UsageError, match="no images of bytes with classes"):
        read(tmp_path / "flat").whole_train()
