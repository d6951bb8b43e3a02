"""`--data PATH`: what it is taken for."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from integrand.datamodules.own.guess import guess, means_path
from integrand.errors import UsageError


@pytest.fixture
def made(tmp_path, monkeypatch):
    """One path of every kind, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes" / "a").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "shapes" / "a" / "x.png")
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "x.npy", np.zeros(3))
    (tmp_path / "rows.csv").write_text("size,colour\n1,red\n")
    (tmp_path / "runs.csv").write_text("id;Time;x\n1;2;3\n")
    pd.DataFrame({"t": [1.0], "x": [2.0]}).to_parquet(tmp_path / "runs.parquet")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_info.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.csv").write_text("x\n1\n")
    (tmp_path / "odd.xyz").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("shapes", "ImageFolder"),
        ("shapes/a/x.png", "ImageFolder"),
        ("x.npz", "Arrays"),
        ("arrays", "Arrays"),
        ("rows.csv", "CSVTable"),
        ("runs.csv", "CSVTrajectories"),
        ("runs.parquet", "CSVTrajectories"),
        ("saved", "HuggingFace"),
    ],
)
def test_what_a_path_is_taken_for(made, path, name):
    assert means_path(path)
    assert guess(path).class_name == name


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no/such", "there is no such file or folder"),
        ("no.csv", "there is no such file or folder"),
        ("rosw.csv", "there is no such file or folder, did you mean rows.csv"),
        ("empty", "holds neither images nor arrays"),
        ("tables", "is a folder of 1 tables"),
        ("odd.xyz", "no data set is known by .xyz"),
    ],
)
def test_what_nothing_reads_is_refused(made, path, message):
    assert means_path(path)
    with pytest.raises(UsageError, match=message) as caught:
        guess(path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "value", ["FashionMini", "digits", "my.module.Data", "configs/data/wine.yaml", "{a: 1}"]
)
def test_classes_and_configurations_are_no_paths(made, value):
    assert not means_path(value)
