"""Tables: what each column becomes, by the training rows alone, and what is refused with row or column."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import integrand.datamodules as dm
from integrand.errors import UsageError
from integrand.spec import Classes, Targets


def frame(n=60, seed=0):
    """Flowers with a number, a word, a cell that is missing here and there, and a species."""
    rng = np.random.default_rng(seed)
    size = rng.normal(5, 2, n)
    return pd.DataFrame(
        {
            "id": [f"f{i}" for i in range(n)],
            "size": size,
            "colour": rng.choice(["red", "blue", "white"], n),
            "weight": np.where(np.arange(n) % 7 == 0, np.nan, rng.normal(100, 9, n)),
            "species": np.where(size > 5, "lily", "rose"),
        }
    )


@pytest.fixture
def write(tmp_path):
    """Text or frame -> path of a CSV file."""

    def write(content, name="flowers.csv"):
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content)
        else:
            content.to_csv(path, index=False)
        return str(path)

    return write


def batch(data, split="train"):
    return next(iter(getattr(data, f"{split}_dataloader")()))


def test_columns_are_guessed_scaled_named_and_said(write, caplog):
    table = frame()
    data = dm.CSVTable(write(table), batch_size=60)
    assert data.spec.question == Classes(2, ("lily", "rose"))
    names = data.description["features"]
    assert names == ["size", "colour=blue", "colour=red", "colour=white", "weight", "weight missing"]
    for said in (
        "columns guessed: data.id_column: id; data.target: species",
        "colour is one of blue, red, white",
        "weight is missing 9 times",
        "6 inputs, scaled by 39 training rows",
    ):
        assert said in caplog.text
    rows = data.collection.rows["test"]
    x, y = batch(data, "test")
    assert data.ids == table.id[rows].tolist()
    train = table.loc[data.collection.rows["train"]]
    np.testing.assert_allclose(
        x[:, 0], (table["size"][rows] - train["size"].mean()) / train["size"].std(ddof=0), rtol=1e-5
    )
    np.testing.assert_array_equal(
        x[:, 1:4], np.stack([table.colour[rows] == c for c in ("blue", "red", "white")], 1)
    )
    absent = table.weight[rows].isna().to_numpy()
    np.testing.assert_array_equal(x[:, 5], absent)
    assert (x[absent, 4] == 0).all(), "the mean of training"
    assert [("lily", "rose")[i] for i in y.tolist()] == table.species[rows].tolist()


def test_numbers_are_targets_in_their_own_units_and_parquet_holds_the_same(write, tmp_path):
    table = frame()
    table.to_parquet(tmp_path / "flowers.parquet")
    modules = [
        dm.CSVTable(p, target="size", batch_size=60)
        for p in (write(table), str(tmp_path / "flowers.parquet"))
    ]
    for data in modules:
        question = data.spec.question
        assert isinstance(question, Targets)
        train = table["size"][data.collection.rows["train"]]
        np.testing.assert_allclose([*question.shifts, *question.scales], [train.mean(), train.std(ddof=0)])
        _, y = batch(data, "test")
        raw = y[:, 0].double() * question.scales[0] + question.shifts[0]
        np.testing.assert_allclose(raw, table["size"][data.collection.rows["test"]], rtol=1e-5)
    assert modules[0].digest == modules[1].digest, "the same content, whatever the file"
    several = dm.CSVTable(write(table.fillna(100.0)), target=["size", "weight"])
    assert several.spec.question.names == ("size", "weight")


def test_a_split_column_decides(write):
    table = frame().assign(
        split=lambda f: np.where(f.index < 10, "test", np.where(f.index < 20, "valid", "Train"))
    )
    data = dm.CSVTable(write(table))
    assert data.sizes == {"n_train": 40, "n_val": 10, "n_test": 10}
    assert data.ids == [f"f{i}" for i in range(10)]
    assert "split" not in data.description["features"]


def test_without_an_id_a_sample_is_called_by_its_line(write):
    data = dm.CSVTable(write(frame().drop(columns="id")))
    assert data.ids == [str(i + 2) for i in data.collection.rows["test"]]


def test_a_description_encodes_new_rows_as_in_training(write, caplog):
    path = write(frame())
    trained = dm.CSVTable(path).description
    new = frame(5, seed=1).drop(columns="species")
    new.loc[0, "colour"] = "green"
    data = dm.CSVTable(write(new, "new.csv"), described=trained)
    x = batch(data, "predict")
    assert x.shape == (5, 6)
    assert not x[0, 1:4].any()
    assert "colour is green, which training did not have" in caplog.text
    column = trained["columns"][0]
    np.testing.assert_allclose(x[:, 0], (new["size"] - column["mean"]) / column["std"], rtol=1e-5)
    assert data.ids == [f"f{i}" for i in range(5)]
    labelled = frame(5, seed=1).assign(species=["rose", "lily", "rose", "rose", "lily"])
    _, y = batch(dm.CSVTable(write(labelled, "new.csv"), described=trained), "predict")
    assert y.tolist() == [1, 0, 1, 1, 0]
    with pytest.raises(UsageError, match="lacks the columns size"):
        dm.CSVTable(write(new.drop(columns="size"), "new.csv"), described=trained).setup()


def test_one_value_in_training_is_left_out_and_said(write, caplog):
    data = dm.CSVTable(
        write(frame().assign(species=lambda f: f.species, place="here", zero=0)), target="species"
    )
    assert not {"place", "zero"} & {c["name"] for c in data.description["columns"]}
    assert "place, zero has one value in training and is left out" in caplog.text


BAD = {
    "target": (frame(), {"target": "specis"}, "no column 'specis', did you mean species", "its columns: id, size"),
    "constant": (frame().assign(species=1.5), {"target": "species"}, "target species is 1.5 everywhere", "learned"),
    "one class": (frame().assign(species="rose"), {}, "every sample is of class 'rose'", "two classes"),
    "missing target": (frame().assign(species=lambda f: f.species.where(f.index != 3)), {}, "sample 4 has no answer", "fill in species"),
    "duplicate": ("a,b,a\n1,2,3\n4,5,6\n", {}, "two columns called 'a'", "name of its own"),
    "free text": (frame(400).assign(note=lambda f: "note " + f.id), {"target": "species"}, "column note has 2\\d\\d different words", "data.columns"),
    "infinite": (frame().assign(size=np.inf), {"target": "species"}, "row 2: size is inf", "leave the cell empty"),
    "infinite in float32": (frame().assign(size=1e39), {"target": "species"}, "row 2: size is 1e\\+39, and numbers end at 3e\\+38", "leave the cell empty"),
    "infinite target": (frame().assign(size=-np.inf), {"target": "size"}, "row 2: size is -inf", "leave the cell empty"),
    "one column": ("a\n1\n2\n", {}, "has the columns a", "inputs and a target"),
    "two parts": (frame(), {"target": "size", "columns": ["size"]}, "column 'size' has two parts", "one part"),
    "split": (frame().assign(split="some"), {}, "row 2: split is 'some'", "train, val, test"),
    "text targets": (frame(), {"question": "targets"}, "the answers are text", "data.question"),
    "empty": ("a,b\n", {}, "holds no rows", "header"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_right_is_refused_with_remedy(write, case):
    content, options, message, remedy = BAD[case]
    with pytest.raises(UsageError, match=message) as caught:
        dm.CSVTable(write(content), **options).setup()
    assert re.search(remedy, caught.value.remedy)
    assert "flowers.csv" in caught.value.message


@pytest.mark.parametrize("content", [b"\x00\xff\xfe\x01" * 100, b"PK\x03\x04\xff\xfe", b"a,b\n1\n2,3,4\n"])
def test_files_that_are_no_tables_are_refused(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        dm.CSVTable(str(tmp_path / "x.csv")).setup()
    assert len(str(caught.value)) < 400


def test_a_table_too_large_to_read_whole_is_refused_unread(write, monkeypatch):
    monkeypatch.setattr("integrand.datamodules.series.own.table.LARGEST", 100)
    with pytest.raises(UsageError, match="would be read whole"):
        dm.CSVTable(write(frame())).setup()


def test_columns_of_true_and_false_are_words(write):
    data = dm.CSVTable(write(frame().assign(wild=lambda f: f.index % 3 == 0)), target="wild")
    assert data.spec.class_names == ("False", "True")
    assert torch.equal(
        batch(data, "test")[1].bool(), torch.tensor([i % 3 == 0 for i in data.collection.rows["test"]])
    )
