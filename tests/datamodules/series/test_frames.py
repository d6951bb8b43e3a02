"""Pickled tables: read as pandas wrote them, and nothing in them is run."""

import lzma
import pickle

import numpy as np
import pandas as pd
import pytest

import integrand.datamodules as dm
from integrand.datamodules.formats import frames, pbc
from integrand.datamodules.formats.packed import WHOLE, unpack
from integrand.datamodules.formats.pbc import CHANNELS
from integrand.errors import DataError, UsageError


def pickled(frame):
    """As the package was made: columns of objects, protocol 5, xz."""
    frame = frame.copy()
    frame.columns = frame.columns.astype(object)
    return lzma.compress(pickle.dumps(frame, protocol=5))


def visits(*patients):
    """A table of (id, days, years followed, end) with every channel the day's number."""
    rows = [
        {
            "id": i,
            "day": d,
            "futime": round(f * 365.25),
            "status": s,
            "trt": i % 2,
            "age": 40.0 + i,
            "sex": "fm"[i % 2],
        }
        | dict.fromkeys(CHANNELS, float(d))
        for i, days, f, s in patients
        for d in days
    ]
    return pd.DataFrame(rows).astype({"sex": object})


def test_columns_come_back_whatever_block_they_are_in():
    frame = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [0.5, np.nan, 2.5],
            "c": ["x", None, "z"],
            "d": [4, 5, 6],
            "e": [True, False, True],
        }
    ).astype({"c": object})
    columns = frames.columns(pickled(frame), "f")
    assert sorted(columns) == list("abcde")
    for name in "abde":
        np.testing.assert_array_equal(columns[name], frame[name].to_numpy())
    assert columns["c"][::2] == ["x", "z"]
    assert columns["c"][1] is None or np.isnan(columns["c"][1])


class _Call:
    def __reduce__(self):
        return print, ("run!",)


@pytest.mark.parametrize(
    "value",
    [_Call(), {"a": 1}, [np.zeros(2)], pd.Series([1.0]), pd.DataFrame({"a": [_Call()]}, dtype=object)],
    ids=["a call", "a dict", "arrays", "a column", "a call in a cell"],
)
def test_what_is_no_table_of_numbers_and_text_is_refused_and_not_run(value, capsys):
    with pytest.raises(DataError, match="f cannot be read as a table"):
        frames.columns(lzma.compress(pickle.dumps(value, protocol=5)), "f")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"\xfd7zXZ\x00", lzma.compress(b"\x80\x05.")])
def test_a_damaged_file_is_refused(data):
    with pytest.raises(DataError, match="f cannot be read"):
        frames.columns(data, "f")


def test_visits_are_series_in_years():
    table = visits((7, (0, 365.25, 100), 5.0, 2), (3, (10,), 1.0, 0))
    first, second = unpack(pbc.read(lambda name: pickled(table)), WHOLE)
    assert (first.name, second.name) == ("patient 3", "patient 7")
    np.testing.assert_allclose(second.times, [0, 100 / 365.25, 1])
    np.testing.assert_array_equal(second.values[1], [100.0] * len(CHANNELS))
    np.testing.assert_array_equal(second.static, [1, 47, 0])
    np.testing.assert_allclose(second.answer, [5, 2], atol=2e-3)
    with pytest.raises(DataError, match=r"pbcseq.* is not the published table"):
        pbc.read(lambda name: pickled(table.drop(columns="bili")))


# landmark 2, window 5: years followed, how it ended -> what is known, None where nothing is
CASES = [(1.9, 2, None), (3.0, 2, 1), (3.0, 1, 1), (3.0, 0, None), (6.9, 1, 1), (7.1, 2, 0), (7.1, 0, 0)]


@pytest.mark.parametrize(("followed", "end", "answer"), CASES)
def test_a_landmark_asks_only_of_those_whose_end_is_known(followed, end, answer):
    table = visits((1, (0, 400, 800), followed, end))
    (patient,) = unpack(pbc.read(lambda name: pickled(table)), WHOLE)
    asked = dm.PBC()._asked(patient)
    if answer is None:
        assert asked is None
    else:
        assert asked.answer == answer
        assert len(asked) == 2, "what comes after the landmark is not given"
        np.testing.assert_allclose(asked.static, [1, (41 - 50) / 10, 0])


@pytest.mark.parametrize("options", [{"landmark": -1.0}, {"window": 0.0}, {"test_fraction": 0.9}])
def test_spans_and_shares_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        dm.PBC(**options)
