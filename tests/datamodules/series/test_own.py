"""The user's own series: what is guessed, how it is split, and what is refused with row and remedy."""

import logging
import re

import numpy as np
import pandas as pd
import pytest
import torch

import integrand.datamodules as dm
from integrand.cli.main import main
from integrand.errors import UsageError
from integrand.spec import Classes, Forecast, Targets


def long(n=6, length=12, seed=0):
    """n series of a sine each, at random times, with columns id, time, x, y."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(n):
        t = np.sort(rng.random(length)) * length
        frames.append(pd.DataFrame({"id": f"s{i}", "time": t, "x": np.sin(t + i), "y": np.cos(t) + i}))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def write(tmp_path):
    """Text or frame -> path of a CSV file."""

    def write(content, name="runs.csv"):
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content)
        else:
            content.to_csv(path, index=False)
        return str(path)

    return write


@pytest.fixture
def read(write):
    """Text or frame and options -> datamodule."""
    return lambda content, **options: dm.CSVTrajectories(write(content), **options)


def batch(data, split="train"):
    return next(iter(getattr(data, f"{split}_dataloader")()))


def test_columns_are_guessed_and_said_once(read, caplog):
    data = read(long())
    with caplog.at_level(logging.WARNING):
        assert data.spec.question == Forecast(6, 6)
        data.setup()
        batch(data)
    assert [r.message for r in caplog.records] == [
        "runs.csv, columns guessed: data.id_column: id; data.time_column: time; data.channels: [x, y]"
    ]
    assert data.spec.names == ("x", "y")
    assert data.spec.irregular
    assert not data.spec.missing
    assert data.sizes["n_train"] == 4, "windows touch: one in 12 observations"


def test_channels_are_scaled_by_the_training_part(read):
    frame = long(8)
    data = read(frame)
    parts = data.recordings()
    train = np.concatenate([r.values for r in parts["train"]])
    np.testing.assert_allclose(data.spec.shifts, train.mean(axis=0))
    np.testing.assert_allclose(data.spec.scales, train.std(axis=0))
    names = {part: {r.name for r in recordings} for part, recordings in parts.items()}
    assert sorted(set().union(*names.values())) == [f"s{i}" for i in range(8)]
    assert sum(map(len, names.values())) == 8, "a series is in one part"
    same = read(frame, seed=5).recordings()
    assert [r.name for r in same["test"]] == [r.name for r in parts["test"]]


def test_a_label_asks_for_a_class_and_each_part_has_all(read):
    frame = long(20).assign(label=lambda f: f.id.str[1:].astype(int) % 2 + 9)
    data = read(frame)
    assert data.spec.question == Classes(2, ("9", "10")), "numbers in their order, not as words"
    for split in ("train", "val", "test"):
        x, y = batch(data, split)
        assert set(y.tolist()) == {0, 1}
        assert x.times[:, 0].eq(0).all(), "only gaps matter"


def test_targets_and_static_numbers(read):
    frame = long(10).assign(size=lambda f: f.id.str[1:].astype(float), sex=1.0)
    data = read(frame, targets=["size"], static=["sex"], autonomous=False)
    assert isinstance(data.spec.question, Targets)
    assert data.spec.channels == 2
    x, y = batch(data)
    assert x.static.shape[1] == 1
    question = data.spec.question
    raw = y * question.scales[0] + question.shifts[0]
    assert sorted(raw[:, 0].round().int().tolist()) == sorted(
        int(r.name[1:]) for r in data.recordings()["train"]
    )
    assert not x.times[:, 0].eq(0).all(), "the law depends on the time, which is kept"


def test_missing_cells_are_missing_observations(read):
    frame = long()
    frame.loc[3, "x"] = np.nan
    data = read(frame, val_fraction=0.2, test_fraction=0.2)
    assert data.spec.missing
    gone = sum(int((~m.mask[m.present]).sum()) for s in ("train", "val", "test") for m in [_whole(data, s)])
    assert gone == 1


def _whole(data, split):
    from integrand.datamodules.series.padded import padded

    return padded(data.recordings()[split])


def test_one_series_is_cut_in_time(read, caplog):
    t = np.arange(100.0)
    data = read(pd.DataFrame({"t": t, "x": t}), context=5, horizon=5)
    parts = data.recordings()
    assert [len(parts[p][0]) for p in ("train", "val", "test")] == [65, 15 + 5, 20 + 5]
    assert parts["test"][0].values[-1, 0] == 99
    within = dm.CSVTrajectories(data.paths[0], within=True).recordings()
    assert [len(within[p][0]) for p in ("train", "val", "test")] == [65, 15, 20]
    assert "cut in time" in caplog.text
    assert "no data.id_column: one series" in caplog.text


def test_a_split_column_decides(read):
    frame = long(6).assign(split=lambda f: f.id.map({"s0": "test", "s1": "val"}).fillna("train"))
    parts = read(frame).recordings()
    assert [r.name for r in parts["test"]] == ["s0"]
    assert [r.name for r in parts["val"]] == ["s1"]


def test_files_of_their_own(write):
    frame = long(6)
    paths = [
        write(frame[frame.id.isin(ids)], name)
        for name, ids in (("a.csv", ["s0", "s1", "s2"]), ("b.csv", ["s3"]), ("c.csv", ["s4", "s5"]))
    ]
    parts = dm.CSVTrajectories(*paths).recordings()
    assert {p: len(r) for p, r in parts.items()} == {"train": 3, "val": 1, "test": 2}


def test_parquet_frame_and_csv_with_semicolons_hold_the_same(tmp_path):
    frame = long()
    frame.to_parquet(tmp_path / "runs.parquet")
    frame.to_csv(tmp_path / "runs.csv", sep=";", index=False)
    modules = [
        dm.CSVTrajectories(str(tmp_path / "runs.parquet")),
        dm.CSVTrajectories(str(tmp_path / "runs.csv")),
        dm.SeriesFrame(frame),
    ]
    for module in modules:
        module.setup()
    assert len({m.digest for m in modules}) == 1


def test_rows_of_several_series_may_be_mixed(read):
    frame = long().sort_values("time", kind="stable")
    mixed, sorted_ = read(frame).recordings(), read(long()).recordings()
    by_name = {r.name: r for part in sorted_.values() for r in part}
    for part in mixed.values():
        for r in part:
            np.testing.assert_array_equal(r.values, by_name[r.name].values)


def test_dates_become_hours_where_gaps_are_hours(read, caplog):
    stamps = pd.date_range("2020-02-28 22:00", periods=12, freq="h").strftime("%Y-%m-%d %H:%M")
    frame = pd.concat([pd.DataFrame({"id": i, "date": stamps, "x": np.arange(12) * i}) for i in range(1, 5)])
    data = read(frame)
    for r in data.recordings()["train"]:
        np.testing.assert_allclose(r.times, np.arange(12), atol=1e-9)
    assert "data.time_unit: h" in caplog.text
    days = read(frame, time_unit="d").recordings()["train"][0]
    np.testing.assert_allclose(days.times, np.arange(12) / 24, atol=1e-9)


@pytest.mark.parametrize(("factor", "said"), [(86400.0, "set data.time_scale to 86400"), (1.0, "")])
def test_gaps_of_odd_size_are_warned_of(read, caplog, factor, said):
    frame = pd.concat(
        [pd.DataFrame({"id": i, "time": np.arange(9) * factor, "x": np.arange(9.0) * i}) for i in range(1, 5)]
    )
    data = read(frame)
    assert data.spec.step == factor
    assert (said in caplog.text) if said else ("time_scale" not in caplog.text)
    assert read(frame, time_scale=factor).spec.step == 1


def test_one_series_in_other_units_is_warned_of(read, caplog):
    frame = long(6)
    frame.loc[frame.id == "s4", "time"] *= 1000
    _ = read(frame).spec
    assert "runs.csv, row 50: the gaps of series 's4'" in caplog.text
    assert "other units" in caplog.text


HEAD = "id,time,x\n"
GOOD = "".join(f"{i},{t},{t * (1 + ord(i))}\n" for i in "pqr" for t in range(9))  # three good series

BAD = {
    "unsorted": (GOOD + "a,0,1\na,2,3\na,1,2\n", {}, "row 31: time 1 of series 'a' comes after 2", "data.sort"),
    "repeated": (GOOD + "a,0,1\na,1,3\na,1,2\n", {}, "row 31: time 1 of series 'a' stands at .*row 30", "merge"),
    "length 1": (GOOD + "a,0,1\n", {}, "row 29: series 'a' has fewer observations than 2: 1", "data.min_length"),
    "infinite": (GOOD + "a,0,1\na,1,inf\n", {}, "row 30: x is inf", "leave the cell empty"),
    "infinite in float32": (GOOD + "a,0,1\na,1,-1e39\n", {}, "row 30: x is -1e\\+39, and numbers end at", "leave the cell empty"),
    "text": (GOOD + "a,0,1\na,1,many\n", {"channels": ["x"]}, "row 30: x is 'many'", "correct it"),
    "no time": (GOOD + "a,0,1\na,,2\n", {}, "row 30: the time in time is missing", "leave the row out"),
    "odd time": (GOOD + "a,0,1\na,noon,2\n", {}, "row 30: time is 'noon'", "correct it"),
    "infinite time": (GOOD + "a,0,1\na,inf,2\n", {}, "row 30: time is inf", "leave the cell empty"),
    "no id": (GOOD + ",0,1\n", {}, "row 29: id is empty", "say which series"),
    "horizon": (GOOD, {"horizon": 0}, "horizon=0 asks for no time after the last", "data.horizon"),
    "negative horizon": (GOOD, {"horizon": -3}, "horizon=-3 asks for no time after", "data.horizon"),
    "context": (GOOD, {"context": 9}, "'[pqr]', has 9 observations: nothing is left to ask for after 9", "to 4 or"),
    "long horizon": (GOOD, {"context": 4, "horizon": 6}, "9 observations: 4 given leave 5 to ask for, not 6", "data.horizon to 5 or"),
    "long evaluation": (GOOD, {"eval_horizon": 6}, "longest val series, .* 4 given leave 5 to ask for", "data.eval_horizon to 5"),
    "long within": (GOOD, {"within": True, "horizon": 6}, "4 given leave 5 to ask for, not 6", "data.horizon to 5 or"),
    "column": (GOOD, {"channels": ["X1"]}, "runs.csv has no column 'X1'", "its columns: id, time, x"),
    "two parts": (GOOD, {"static": ["x"], "channels": ["x"]}, "column 'x' has two parts", "one part"),
    "shares": (GOOD, {"val_fraction": 0.0}, "do not split", "positive shares"),
    "scale": (GOOD, {"time_scale": -1.0}, "time_scale=-1", "positive"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_by_row_and_remedy(read, case):
    text, options, message, remedy = BAD[case]
    with pytest.raises(UsageError, match=message) as caught:
        read(HEAD + text, **options).setup()
    assert re.search(remedy, caught.value.remedy)
    assert caught.value.exit_code == 2


def test_options_of_a_forecast_are_refused_where_a_class_is_asked_for(read):
    frame = long(8).assign(label=lambda f: f.id.str[1:].astype(int) % 2)
    with pytest.raises(
        UsageError,
        match=r"runs.csv: data.horizon, data.stride of a forecast, but each series is asked for its label",
    ) as caught:
        read(frame, horizon=2, stride=3).setup()
    assert caught.value.remedy == "leave the options out, or rename the column label"


def test_a_window_that_nobody_asked_for_fits_into_every_part(read):
    """One series of 40 rows: 26 train, 6 validate, so 13 given leave 6 to ask for everywhere."""
    frame = long(1, 40)
    assert read(frame).spec.question == Forecast(13, 6)
    left_out = read(frame, drop=0.2)
    assert left_out.spec.question == Forecast(10, 3)  # of 21; and 13 stay of 10 + 6 in validation
    left_out.setup()


def test_a_series_without_a_value_is_said(read, caplog):
    frame = long(6)
    frame.loc[frame.id.isin(["s3", "s4"]), ["x", "y"]] = np.nan
    read(frame).setup()
    assert "runs.csv, row 38: series 's3' holds no value, nor do 1 others → leave it out" in caplog.text


@pytest.mark.parametrize(("column", "said"), [(np.nan, "is empty"), (4.0, "holds nothing but 4$")])
def test_empty_and_constant_channels_are_refused(read, column, said):
    with pytest.raises(UsageError) as caught:
        read(long().assign(y=column)).setup()
    assert re.search(f"runs.csv, row 2 to runs.csv, row 73: channel 'y' {said}", caught.value.message)
    assert caught.value.remedy == "leave it out: set data.channels to the others"


def test_a_channel_that_is_constant_in_training_alone_is_refused(read):
    frame = long(6).assign(split=lambda f: f.id.map({"s0": "test", "s1": "val"}).fillna("train"))
    frame.loc[frame.split == "train", "y"] = 4.0
    with pytest.raises(UsageError, match="holds nothing but 4 in the training part"):
        read(frame).setup()


def test_series_in_two_parts_are_refused(read, write):
    frame = long(6).assign(split="train")
    frame.loc[frame.index[-1], "split"] = "test"
    with pytest.raises(UsageError, match="row 73: split of series 's5' is 'test' after 'train'"):
        read(frame).setup()
    a, b = write(long(4), "a.csv"), write(long(6), "b.csv")
    with pytest.raises(
        UsageError, match=r"b.csv, row 2: series 's0' stands at a.csv, row 2 as well \(test and"
    ):
        dm.CSVTrajectories(a, test_path=b).setup()


def test_what_belongs_to_a_whole_series_is_the_same_in_all_its_rows(read):
    frame = long(6).assign(label="p", size=1.0)
    frame.loc[frame.id > "s2", "label"] = "q"
    frame.loc[4, "label"] = "q"
    with pytest.raises(UsageError, match="row 6: label of series 's0' is 'q' after 'p'"):
        read(frame).setup()
    frame.loc[4, "label"] = None
    with pytest.raises(UsageError, match="row 6: label of series 's0' is empty"):
        read(frame).setup()
    frame.loc[7, "size"] = 2.0
    with pytest.raises(UsageError, match="row 9: size of series 's0' is 2 after 1"):
        read(frame.drop(columns="label"), static=["size"]).setup()


def test_classes_have_to_be_told_apart_and_trained_on(read):
    with pytest.raises(UsageError, match="every series has the label 'p'"):
        read(long(6).assign(label="p")).setup()
    frame = long(6).assign(split=lambda f: f.id.map({"s0": "test", "s1": "val"}).fillna("train"))
    frame["label"] = frame.id.map({"s0": "c", "s2": "b"}).fillna("a")
    with pytest.raises(UsageError, match="no series of class 'c' is in training"):
        read(frame).setup()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a table"),
        ("id,time,x\n", "holds no rows"),
        ("id,time,x\na,1,2\na,2,3,4\n", "cannot be read as a table.*line 3"),
        ("a,b\n1,2\n3,4\n", "none of its columns a, b is called a time"),
        ("time,name\n1,p\n2,q\n", "no column of numbers is left"),
    ],
)
def test_files_that_are_no_long_tables_are_refused(read, text, message):
    with pytest.raises(UsageError, match=message):
        read(text).setup()


def test_a_file_that_is_not_there_or_no_parquet(tmp_path):
    with pytest.raises(UsageError, match="is no file"):
        dm.CSVTrajectories(str(tmp_path / "none.csv")).setup()
    (tmp_path / "x.parquet").write_text("id,time\n")
    with pytest.raises(UsageError, match="cannot be read as a table"):
        dm.CSVTrajectories(str(tmp_path / "x.parquet")).setup()


def test_the_same_split_by_any_seed_of_a_run_and_another_by_the_split_seed(read):
    frame = long(40)
    first, same, other = (
        {r.name for r in read(frame, seed=s, split_seed=k).recordings()["test"]}
        for s, k in ((0, 0), (1, 0), (0, 1))
    )
    assert first == same != other


def test_interpolation_is_asked_for_within_a_series(read):
    data = read(long(8), within=True)
    assert data.spec.question == Forecast(6, 6, within=True)
    x, query = batch(data, "test")
    assert (query.times >= x.times[:, :1]).all(), "the first of a window is given"
    assert (query.times.min(dim=1).values < x.times[:, -1]).any()


def test_windows_of_a_forecast_hold_what_follows(read):
    t = np.arange(30.0)
    frame = pd.concat([pd.DataFrame({"id": i, "time": t, "x": 100 * i + t}) for i in range(5)])
    data = read(frame, context=4, horizon=3)
    x, query = batch(data, "test")
    assert (x.times[:, -1] == 0).all()
    last, asked = data.denormalise(x.values)[:, -1, 0], data.denormalise(query.values)[..., 0]
    np.testing.assert_allclose(asked[:, 0], last + 1, atol=1e-3)
    assert torch.equal(query.times[0], torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))


@pytest.mark.parametrize("case", ["unsorted", "infinite", "negative horizon"])
def test_the_command_line_says_it_in_one_line_and_exits_with_2(write, capsys, monkeypatch, tmp_path, case):
    monkeypatch.chdir(tmp_path)
    text, options, message, _ = BAD[case]
    arguments = [f"--data.{k}={v}" for k, v in options.items()]
    path = write(HEAD + text)
    code = main(
        ["fit", "--model", "NeuralCDE", "--data", "CSVTrajectories", f"--data.path={path}", *arguments]
    )
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert error.startswith("integrand: error: ")
    assert re.search(message, error)
    assert "→" in error


def test_a_description_serves_new_series_with_and_without_classes(read, write, caplog):
    frame = long(12).assign(label=lambda f: "abc"[0] + (f.id.str[1:].astype(int) % 2).astype(str))
    trained = read(frame)
    trained.setup()
    assert sorted(trained.ids) == sorted(r.name for r in trained.recordings()["test"])
    described = trained.description
    new = long(3, seed=1).assign(x=lambda f: f.x * 7)
    data = dm.CSVTrajectories(write(new, "new.csv"), described=described)
    (x,) = batch(data, "predict")
    assert data.ids == ["s0", "s1", "s2"]
    expected = (new.x[0] - described["spec"]["shifts"][0]) / described["spec"]["scales"][0]
    assert float(x.values[0, 0, 0]) == pytest.approx(expected, rel=1e-5), "the scales of training"
    with pytest.raises(UsageError, match=r"new\.csv holds no answers that the model knows"):
        data.test_dataloader()
    labelled = new.assign(label=new.id.map({"s0": "a1", "s1": "a0", "s2": "a1"}))
    _, y = batch(dm.CSVTrajectories(write(labelled, "new.csv"), described=described), "test")
    assert y.tolist() == [1, 0, 1]
    other = dm.CSVTrajectories(write(new.assign(label="z"), "new.csv"), described=described)
    assert len(batch(other, "predict")) == 1
    assert "z is no class of the model" in caplog.text
    with pytest.raises(UsageError, match="lacks the columns y, which the model was trained on"):
        dm.CSVTrajectories(write(new.drop(columns="y"), "new.csv"), described=described).setup()


def test_dates_of_new_series_are_read_in_the_unit_of_training(write):
    def dated(freq, n):
        stamps = pd.date_range("2020-02-28", periods=12, freq=freq).strftime("%Y-%m-%d %H:%M")
        return pd.concat(
            [pd.DataFrame({"id": i, "date": stamps, "x": np.arange(12) * i}) for i in range(1, n)]
        )

    described = dm.CSVTrajectories(write(dated("h", 5), "hours.csv")).description
    new = dm.CSVTrajectories(write(dated("D", 2), "days.csv"), described=described)
    np.testing.assert_allclose(new.recordings()["test"][0].times, 24 * np.arange(12), atol=1e-9)


def test_windows_of_a_forecast_are_called_by_their_series(read):
    data = read(long(8), context=4, horizon=4)
    data.setup()
    names = [r.name for r in data.recordings()["test"]]
    assert data.ids == [name for name in names for _ in range(2)]
    assert len(data.ids) == data.sizes["n_test"]
