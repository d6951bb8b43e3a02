"""Series that only the network has: made files of their layout, from a server on the loopback."""

import hashlib
import http.server
import io
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest

import integrand.datamodules as dm
from integrand.datamodules.formats import person_activity, physionet2012
from integrand.errors import DataError

PATIENT = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,80
00:00,Gender,1
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,-1
00:07,HR,73
00:07,Temp,35.1
00:07,HR,74
30:30,HR,60
30:30,Weight,81.5
30:30,,
30:30,Unheard,3
"""
HR, TEMP, WEIGHT = (physionet2012.CHANNELS.index(name) for name in ("HR", "Temp", "Weight"))


def test_a_record_is_read_by_minutes():
    record = physionet2012.parse(PATIENT.replace("30:30,,\n", ""), 132539, 1, "x")
    np.testing.assert_allclose(record.times, [7 / 60, 30.5])
    assert record.values[0, HR] == 74, "the later of two values stays"
    assert record.values[0, TEMP] == 35.1
    assert (record.values[1, HR], record.values[1, WEIGHT]) == (60, 81.5)
    assert np.isfinite(record.values).sum() == 4, "an unknown weight is missing, not -1"
    np.testing.assert_array_equal(record.static, [1, 1, 0, 0, 0, 0, 1])
    assert (record.answer, record.name) == (1, "patient 132539")


def test_a_patient_without_measurements_has_one_empty_observation():
    record = physionet2012.parse("Time,Parameter,Value\n00:00,Age,50\n", 1, 0, "x")
    assert len(record) == 1
    assert np.isnan(record.values).all()
    np.testing.assert_array_equal(record.static, [-1, 0.5, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("text", ["h\n00:00,HR\n", "h\nnoon,HR,3\n", "h\n00:00,HR,many\n"])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(DataError, match="x is no record"):
        physionet2012.parse(text, 1, 0, "x")


def _archive(letter, numbers):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for number in numbers:
            text = PATIENT.replace("30:30,,\n", "").replace("132539", str(number)).encode()
            info = tarfile.TarInfo(f"./set-{letter}/{number}.txt")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return data.getvalue()


def _outcomes(numbers):
    head = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
    return (head + "".join(f"{n},6,1,5,-1,{n % 2}\n" for n in numbers)).encode()


@pytest.fixture
def files():
    """Ten patients to train on, four to test on."""
    sets = {"a": range(100, 110), "b": range(200, 204)}
    made = {f"set-{s}.tar.gz": _archive(s, numbers) for s, numbers in sets.items()}
    return made | {f"Outcomes-{s}.txt": _outcomes(numbers) for s, numbers in sets.items()}


@pytest.fixture
def served(files):
    """Address of a server that has the files."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path.strip("/"))
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def stays(files, served, monkeypatch):
    """`PhysioNet2012` of the made files."""
    monkeypatch.delenv("INTEGRAND_OFFLINE", raising=False)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    card = dm.PhysioNet2012.card
    source = replace(card.sources[0], mirrors=(served,), sha256=digests)

    class Made(dm.PhysioNet2012):
        pass

    Made.card = replace(card, sources=(source,), file_sha256=digests)
    return Made


def test_stays_are_downloaded_checked_and_kept(stays, cache):
    data = stays()
    data.prepare_data()
    assert (cache / "physionet2012.npz").is_file()
    assert not (cache / "downloads" / "physionet2012").exists()
    data.setup()
    assert data.sizes == {"n_train": 8, "n_val": 2, "n_test": 4}
    x, y = next(iter(data.test_dataloader()))
    assert y.tolist() == [0, 1, 0, 1]
    assert x.static.shape == (4, 7)
    raw = data.denormalise(x.values)
    assert raw[0, 0, HR] == pytest.approx(74, abs=1e-4)
    assert int(x.mask[0].sum()) == 4


def test_the_same_files_in_a_folder(stays, files, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    data = stays(data_dir=str(tmp_path))
    data.setup()
    assert data.sizes["n_test"] == 4
    (tmp_path / "Outcomes-b.txt").write_bytes(_outcomes(range(200, 203)))
    with pytest.raises(DataError, match=r"sha256 of .*Outcomes-b.txt"):
        stays(data_dir=str(tmp_path)).setup()


def test_patients_that_are_missing_are_noticed(files):
    short = files | {"set-b.tar.gz": _archive("b", range(200, 203))}
    with pytest.raises(DataError, match=r"set-b.tar.gz lacks 1 patients"):
        physionet2012.read(short.__getitem__)
    with pytest.raises(DataError, match=r"set-b.tar.gz is damaged"):
        physionet2012.read((files | {"set-b.tar.gz": files["set-b.tar.gz"][:200]}).__getitem__)


def test_without_a_network_the_ways_are_named(monkeypatch):
    monkeypatch.setenv("INTEGRAND_OFFLINE", "1")
    with pytest.raises(DataError, match="INTEGRAND_OFFLINE forbids") as caught:
        dm.PhysioNet2012().prepare_data()
    assert "/folder/physionet2012" in caught.value.remedy


def _tagged(sequence, activity, n, start=0):
    """n rows of one activity, a tag each in turn, 30 ms apart."""
    tags = person_activity.TAGS
    return [
        f"{sequence},{tags[i % 4]},{633790226000000000 + 300_000 * (start + i)},27.05.2009 14:03:25:127,{i}.5,2,{i % 4}.25,{activity}"
        for i in range(n)
    ]


@pytest.fixture
def activities():
    """Rows of four people and of E, who is tested."""
    rows = []
    for person in "ABCDE":
        rows += _tagged(f"{person}01", "walking", 24)
        rows += _tagged(f"{person}01", "lying down", 8, 24) + _tagged(f"{person}01", "lying", 55, 32)
    return rows


def test_pieces_are_of_one_activity_and_silent_tags_are_missing(activities):
    walking, first, second = list(
        person_activity.series([person_activity.parse(r, "x") for r in activities])
    )[:3]
    assert [len(p) for p in (walking, first, second)] == [24, 50, 13], "lying down is lying"
    assert (walking.answer, first.answer) == (0, 2)
    np.testing.assert_allclose(np.diff(walking.times), 0.03, atol=1e-9)
    assert np.isfinite(walking.values).sum(axis=1).tolist() == [3] * 24
    np.testing.assert_array_equal(walking.values[5, 3:6], [5.5, 2, 1.25])
    assert walking.name.startswith("A01")


def test_rows_of_one_tick_are_one_observation_and_short_pieces_are_left_out():
    rows = [person_activity.parse(r, "x") for r in _tagged("A01", "walking", 12)]
    same = [(s, tag, 7 + tick // 600_000, where, said) for s, tag, tick, where, said in rows]
    (piece,) = person_activity.series(same)
    assert len(piece) == 6
    assert np.isfinite(piece.values).sum(axis=1).tolist() == [6] * 6
    assert list(person_activity.series(rows[:9])) == []


@pytest.mark.parametrize(
    "row", ["A01,tag,1,d,1,2,3,walking", "A01,010-000-024-033,1,d,1,2,3,flying", "<html>"]
)
def test_what_is_no_row_is_refused_by_number(row):
    with pytest.raises(DataError, match=r"ConfLongDemo_JSI.txt, row 2"):
        person_activity.read(lambda name: f"{_tagged('A01', 'walking', 1)[0]}\n{row}\n".encode())


def test_a_file_without_a_digest_is_judged_by_its_content(activities, files, served, monkeypatch, cache):
    monkeypatch.delenv("INTEGRAND_OFFLINE", raising=False)
    card = dm.PersonActivity.card

    class Made(dm.PersonActivity):
        pass

    Made.card = replace(card, sources=(replace(card.sources[0], mirrors=(served,)),))
    files["ConfLongDemo_JSI.txt"] = "\n".join(activities).encode()
    with pytest.raises(DataError, match=rf"has {len(activities)} rows, not 164860"):
        Made().prepare_data()
    monkeypatch.setattr(person_activity, "ROWS", len(activities) + 1)
    files["ConfLongDemo_JSI.txt"] += b"\n" + _tagged("E01", "falling", 1, 90)[0].encode()
    data = Made()
    data.prepare_data()
    data.setup()
    assert data.sizes == {"n_train": 10, "n_val": 2, "n_test": 3}
    assert (cache / "person-activity.npz").is_file()
