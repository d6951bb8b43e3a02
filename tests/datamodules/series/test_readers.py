"""Readers of files of series, on small files written here; what is no such file is refused by name."""

import gzip
import io

import numpy as np
import pytest

from integrand.datamodules.acquire.digests import content_digests
from integrand.datamodules.card import DataCard
from integrand.datamodules.formats import FORMATS, bvh, laser, tables, ts, ucr
from integrand.datamodules.formats.packed import WHOLE, pack, unpack
from integrand.datamodules.series.recording import Recording
from integrand.errors import DataError
from integrand.spec import Classes, SeriesSpec

TS = """#a comment with @data in another place is none
@problemName Small
@timeStamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true b a
@data
1.5,2,-3e-1:4,?,6:a
7:8:b
"""


def members(**files):
    return lambda name: files[name.replace(".", "_").replace("-", "_")]


def test_ts_channels_are_columns_and_labels_are_numbered_as_in_the_header():
    long, short = ts.parse(TS, "x.ts")
    np.testing.assert_array_equal(long.values, [[1.5, 4], [2, np.nan], [-0.3, 6]])
    np.testing.assert_array_equal(long.times, [0, 1, 2])
    assert (long.answer, short.answer) == (1, 0)
    np.testing.assert_array_equal(short.values, [[7, 8]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("@timeStamps false", "@timeStamps true"), "without time stamps"),
        (("@classLabel true b a", "@classLabel false"), "with classes"),
        (("7:8:b", "7:8:c"), "series 2.*'c'"),
        (("7:8:b", "7,9:8:b"), "series 2"),
        (("7:8:b", "7:x:b"), "series 2.*'x'"),
        (("\n@data", "\n@dat"), "is no .ts file"),
    ],
)
def test_what_is_no_ts_file_of_classes_is_refused(change, said):
    with pytest.raises(DataError, match=f"x.ts.*{said}"):
        ts.parse(TS.replace(*change), "x.ts")


def test_a_ucr_table_has_its_label_first_and_nan_at_the_end_of_shorter_series():
    files = {
        "S_TRAIN_tsv": b"3\t1\tNaN\t2\t5\n-1\t4\t5\tNaN\tNaN\n",
        "S_TEST_tsv": b"-1\t0\t1\t2\t3\n",
    }
    arrays = ucr.reader("S")(members(**files))
    long, short = unpack(arrays, "train")
    np.testing.assert_array_equal(long.values[:, 0], [1, np.nan, 2, 5])
    np.testing.assert_array_equal(short.values[:, 0], [4, 5])
    assert (long.answer, short.answer) == (1, 0)
    (other,) = unpack(arrays, "test")
    assert (other.answer, len(other)) == (0, 4)
    with pytest.raises(DataError, match="a label of test is not in train"):
        ucr.reader("S")(members(**files | {"S_TEST_tsv": b"2\t0\t1\n"}))
    with pytest.raises(DataError, match=r"S_TRAIN.tsv is no table"):
        ucr.reader("S")(members(**files | {"S_TRAIN_tsv": b"<html>\n"}))


def test_pelts_are_two_channels_of_the_same_years():
    files = {
        "Hare_csv": b'"Time","Value"\n1845,1.5\n1846,2\n',
        "Lynx_csv": b'"Time","Value"\n1845,3\n1846,4\n',
    }
    (record,) = unpack(tables.read_pelts(members(**files)), WHOLE)
    np.testing.assert_array_equal(record.times, [1845, 1846])
    np.testing.assert_array_equal(record.values, [[1.5, 3], [2, 4]])
    with pytest.raises(DataError, match="not of the same years"):
        tables.read_pelts(members(**files | {"Lynx_csv": b"Time,Value\n1846,3\n1847,4\n"}))


def test_beijing_counts_hours_and_marks_what_is_missing():
    text = (
        "No,year,pm2.5,DEWP,TEMP,PRES,cbwd,Iws,Is,Ir\n1,2010,NA,1,2,3,NW,4,5,6\n2,2010,7,8,9,10,cv,11,12,13\n"
    )
    (record,) = unpack(tables.read_beijing(members(hourly_beijing_pm_csv=text.encode())), WHOLE)
    np.testing.assert_array_equal(record.times, [0, 1])
    np.testing.assert_array_equal(record.values, [[np.nan, 1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12, 13]])


def test_glucose_times_are_hours_and_the_later_of_two_readings_stays():
    text = "isig,datetime,glucose\n1,2010-03-24 23:50:00,100\n2,2010-03-24 23:50:00,110\nnil,2010-03-25 00:20:00,120\n"
    for data in (text.encode(), gzip.compress(text.encode())):
        (record,) = unpack(tables.read_glucose(members(CGM_csv=data)), WHOLE)
        np.testing.assert_allclose(record.times, [0, 0.5], atol=1e-12)
        np.testing.assert_array_equal(record.values, [[110, 2], [120, np.nan]])


@pytest.mark.parametrize("data", [b"", b"\x1f\x8bnot gzip", b"Time;Value\n1;2\n", b"Time,Value\n1845,many\n"])
def test_a_table_of_something_else_is_refused(data):
    with pytest.raises(DataError, match=r"Hare\.csv"):
        tables.read_pelts(members(Hare_csv=data, Lynx_csv=b"Time,Value\n1845,1\n"))


def test_the_laser_is_one_channel_and_no_pickle_is_opened():
    file = io.BytesIO()
    np.save(file, np.array([[3], [250]]))
    (record,) = unpack(laser.read(members(santafe_laser_npy=file.getvalue())), WHOLE)
    np.testing.assert_array_equal(record.values, [[3], [250]])
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    for data in (pickled.getvalue(), b"<html>"):
        with pytest.raises(DataError, match=r"santafe_laser.npy"):
            laser.read(members(santafe_laser_npy=data))


def test_packing_keeps_times_values_answers_names_and_what_is_static():
    rng = np.random.default_rng(0)
    given = [
        Recording(np.sort(rng.random(n)), rng.random((n, 3)), rng.random(2), i % 2, name=f"patient {i}")
        for i, n in enumerate((1, 4, 2))
    ]
    arrays = pack("train", given) | pack("test", given[:1])
    for split, expected in (("train", given), ("test", given[:1])):
        found = unpack(arrays, split)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert (a.name, a.answer) == (b.name, b.answer)
            for part in ("times", "values", "static"):
                np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
    with pytest.raises(DataError, match="'val'"):
        unpack(arrays, "val")
    with pytest.raises(DataError, match="'train'"):
        unpack(arrays | {"train_times": arrays["train_times"][:-1]}, "train")


def test_the_digest_of_arrays_sees_names_types_shapes_and_values():
    spec = SeriesSpec("x", Classes(2), 1, 1)
    card = DataCard("x", "X", "x", "x", "series", spec, {}, "-", "-", encoding="arrays")
    first = {"a": np.arange(6.0), "b": np.array(["p", "qq"])}
    known = content_digests(card, first)
    assert set(known) == {"content"}
    assert content_digests(card, dict(reversed(first.items()))) == known
    big = {"a": first["a"].astype(">f8"), "b": first["b"]}
    assert content_digests(card, big) == known, "byte order is of the machine, not of the content"
    for other in (
        {"a": np.arange(6.0).reshape(2, 3), "b": first["b"]},
        {"a": np.arange(6), "b": first["b"]},
        {"a": np.arange(6.0), "c": first["b"]},
        {"a": np.arange(6.0), "b": np.array(["p", "qr"])},
    ):
        assert content_digests(card, other) != known


def test_every_reader_names_its_members():
    assert FORMATS["ts-JapaneseVowels"].members == ("JapaneseVowels_TRAIN.ts", "JapaneseVowels_TEST.ts")


BVH = """HIERARCHY
ROOT Hips
{
  CHANNELS 3 Xposition Yposition Zposition
  JOINT LeftLeg
  {
    CHANNELS 2 Zrotation Yrotation
    End Site
    {
    }
  }
}
MOTION
Frames: 2
Frame Time: .25
1 2 3 4 5
6 7 8 9 1e1
"""


def test_a_bvh_file_names_its_channels_by_joint():
    names, gap, frames = bvh.parse(BVH, "x.bvh")
    assert names == [
        "Hips Xposition",
        "Hips Yposition",
        "Hips Zposition",
        "LeftLeg Zrotation",
        "LeftLeg Yrotation",
    ]
    assert gap == 0.25
    np.testing.assert_array_equal(frames, [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])


@pytest.mark.parametrize(
    "change",
    [("Frames: 2", "Frames: 3"), ("1 2 3 4 5", "1 2 3 4"), ("MOTION", ""), ("1e1", "x"), (".25", "")],
)
def test_a_damaged_bvh_file_is_refused(change):
    with pytest.raises(DataError, match=r"x\.bvh is no motion capture"):
        bvh.parse(BVH.replace(*change), "x.bvh")


def test_legs_are_kept_four_times_a_second_of_sixteen():
    head = "ROOT Hips\nCHANNELS 1 Xposition\n" + "".join(
        f"JOINT {j}\nCHANNELS 3 Zrotation Yrotation Xrotation\n" for j in bvh.JOINTS
    )
    rows = "\n".join(" ".join(str(100 * i + c) for c in range(19)) for i in range(9))
    text = f"{head}MOTION\nFrames: 9\nFrame Time: 0.0625\n{rows}\n"
    records = unpack(bvh.read(lambda name: text.encode()), WHOLE)
    assert [r.name for r in records] == ["01_01", "01_03"]
    np.testing.assert_allclose(records[0].times, [0, 0.25, 0.5])
    np.testing.assert_array_equal(records[0].values[1], np.arange(401, 419))
    with pytest.raises(DataError, match="lacks the channel LeftFoot Zrotation"):
        bvh.read(lambda name: text.replace("LeftFoot", "Tail").encode())
