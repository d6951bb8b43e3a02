"""The user's own events: kinds, windows, splits, and what is refused with row and remedy."""

import re

import numpy as np
import pandas as pd
import pytest

from integrand.cli.main import main
from integrand.datamodules.events.csv_events import CSVEvents
from integrand.errors import UsageError
from integrand.spec import Events


@pytest.fixture
def read(tmp_path):
    """Text or frame and options -> datamodule."""

    def read(content, **options):
        path = tmp_path / "events.csv"
        text = content if isinstance(content, str) else content.to_csv(index=False)
        path.write_text(text)
        return CSVEvents(str(path), **options)

    return read


def long(n=6, length=12, seed=0):
    """n sequences of a few kinds, watched from 0 to 20."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(n):
        t = np.concatenate([[0.0], np.sort(rng.uniform(0, 20, length)), [20.0]])
        kind = [None, *rng.choice(["visit", "call"], length), None]
        frames.append(pd.DataFrame({"id": f"s{i}", "time": t, "kind": kind}))
    return pd.concat(frames, ignore_index=True)


def test_each_kind_is_a_channel_and_empty_ones_say_how_long_was_looked(read, caplog):
    frame = long()
    data = read(frame)
    assert data.spec.question == Events()
    assert data.spec.names == ("call", "visit")
    assert data.spec.step == pytest.approx(20 / 12)
    assert data.sizes == {"n_train": 4, "n_val": 1, "n_test": 1}
    (x,) = next(iter(data.test_dataloader()))
    (name,) = (r.name for r in data.recordings()["test"])
    own = frame[frame.id == name]
    np.testing.assert_allclose(x.times[0], own.time)
    assert x.mask[0, :, 1].tolist() == (own.kind == "visit").tolist()
    assert (x.end == 20).all()
    said = [r.message for r in caplog.records]
    assert said == [
        "events.csv, columns guessed: data.id_column: id; data.time_column: time; data.kind_column: kind"
    ]


def test_without_a_column_of_kinds_each_row_is_an_event(read):
    data = read(long().drop(columns="kind"), time_scale=2.0)
    assert data.spec.names == ("event",)
    (x,) = next(iter(data.test_dataloader()))
    assert x.mask.all()
    assert (x.end == 10).all()


def test_a_split_column_and_dates(read):
    frame = long(3)
    frame["split"] = frame.id.map({"s0": "train", "s1": "val", "s2": "test"})
    frame["time"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame.time.round(3), unit="h")
    data = read(frame, time_unit="h")
    assert data.recordings()["test"][0].name == "s2"
    assert data.recordings()["test"][0].times[-1] == pytest.approx(20.0)


GOOD = "id,time,kind\n" + "".join(f"{i},{t},a\n" for i in "pqrs" for t in range(4))
BAD = {
    "unsorted": (GOOD + "z,2,a\nz,1,a\n", {}, "row 19: time 1 of series 'z' comes after 2", "data.sort"),
    "repeated": (GOOD + "z,1,a\nz,1,a\n", {}, "row 19: time 1 of series 'z' stands at", "merge the rows"),
    "infinite": (GOOD + "z,1,a\nz,inf,a\n", {}, "row 19: time is inf", "leave the cell empty"),
    "no time": (GOOD + "z,1,a\nz,,a\n", {}, "row 19: the time in time is missing", "leave the row out"),
    "length 1": (GOOD + "z,1,a\n", {}, "row 18: series 'z' has fewer observations than 2: 1", "leave it out"),
    "two sequences": (
        "id,time,kind\np,0,a\np,1,a\nq,0,a\nq,1,a\n",
        {},
        "row 2: 2 sequences",
        "three or more",
    ),
    "no kind": ("id,time,kind\np,0,\np,1,\n", {}, "the column kind is empty", "of which kind"),
    "kind is a column": (GOOD + "z,1,time\nz,2,a\n", {}, "'time' is a kind of event and a column", "rename"),
    "column": (GOOD, {"kind_column": "Kind"}, "events.csv has no column 'Kind'", "data.kind_column"),
    "shares": (GOOD, {"val_fraction": 0.0}, "do not split", "positive shares"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_by_row_and_remedy(read, case):
    text, options, message, remedy = BAD[case]
    with pytest.raises(UsageError, match=message) as caught:
        read(text, **options).setup()
    assert re.search(remedy, caught.value.remedy)


def test_a_kind_that_training_lacks_is_refused(read):
    frame = long(3).assign(split=lambda f: f.id.map({"s0": "train", "s1": "val", "s2": "test"}))
    frame.loc[16, "kind"] = "letter"
    with pytest.raises(UsageError, match="row 18: an event 'letter', which never comes in training"):
        read(frame).setup()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("LatentSDE", "LatentSDE answers forecast and density, but csv-events asks for events"),
        ("ODERNN", "csv-events"),
        ("NeuralJumpSDE", "row 19: time 1 of series 'z' comes after 2"),
    ],
)
def test_the_command_line_says_what_does_not_fit_in_one_line(tmp_path, monkeypatch, capsys, model, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.csv").write_text(GOOD + "z,2,a\nz,1,a\n" if model == "NeuralJumpSDE" else GOOD)
    code = main(["fit", "--model", model, "--data", "CSVEvents", "--data.path=events.csv"])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert said in error
    assert "→" in error
