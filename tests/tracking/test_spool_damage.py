"""Whatever is damaged in a spool: the rest is sent, the damage is kept and named, nothing else is touched."""

import contextlib
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrand.cli.sync import run as sync_command
from integrand.tracking.spool import delivery, folders, frames, operations
from integrand.tracking.spool.delivery import Delivery
from integrand.tracking.spool.reader import SpoolReader
from integrand.tracking.spool.spool import Spool
from integrand.tracking.spool.sync import sync

RUN = "r1"


class Store:
    """A store in memory that takes everything."""

    def __init__(self, artifacts=None):
        self.points, self.status, self.artifacts = [], "RUNNING", artifacts

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        self.points += [m.step for m in metrics]

    def set_terminated(self, run_id, status, end_time):
        self.status = status

    def get_run(self, run_id):
        assert run_id == RUN
        return SimpleNamespace(info=SimpleNamespace(status=self.status, artifact_uri=str(self.artifacts)))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "artifacts")


@pytest.fixture
def spool(store):
    """The spool of a dead process: ten points and a configuration."""
    meta = {"run_id": RUN, "tracking_uri": "x", "artifact_dir": str(store.artifacts)}
    spool = Spool(folders.spool_dir(RUN), meta)
    for step in range(10):
        spool.append(operations.metrics({"a": 1.5}, step, 0.0))
    file = spool.new_file("fit.yaml")
    file.write_text("a: 1\n")
    spool.append(operations.artifact("config/fit.yaml", file, move=True))
    spool._lock.release()
    return spool.directory


def sent(spool, store):
    (result,) = sync(spool.parent, client=store)
    return result


def points(spool):
    return spool / "points.jsonl"


def test_undamaged(spool, store):
    assert sent(spool, store).state == "sent"
    assert store.points == list(range(10))
    assert not list(folders.spool_root().iterdir())


def test_a_flipped_bit_costs_its_own_record_only(spool, store, capsys, monkeypatch):
    data = bytearray(points(spool).read_bytes())
    line = data.splitlines(keepends=True)[3]
    data[data.index(line) + 40] ^= 4
    points(spool).write_bytes(data)
    monkeypatch.setattr("integrand.tracking.spool.sync.open_store", lambda uri: store)
    assert sync_command([]) == 1
    assert store.points == [0, 1, 2, *range(4, 10)]
    said = capsys.readouterr().out
    assert "1 damaged records set aside" in said
    aside = Path(said.rsplit(" in ", 1)[1].strip())
    assert len((aside / "records.txt").read_bytes().splitlines()) == 1
    assert (store.artifacts / "config/fit.yaml").exists()
    assert not spool.exists()
    assert sync_command([]) == 0, "what was set aside is no spool"


def test_a_lost_end_of_line_costs_nothing(spool, store):
    data = points(spool).read_bytes()
    points(spool).write_bytes(data.replace(b"\n", b"x", 1))
    assert sent(spool, store).state == "sent"
    assert store.points == list(range(10))


@pytest.mark.parametrize(
    "note", [b"9" * 20, b"", b"x", b"00000000000000000007", b"00000000000000000007 00000000\n", b"\xff" * 30]
)
def test_a_note_that_cannot_be_true_makes_everything_be_sent_again(spool, store, note):
    (spool / "sent").write_bytes(note)
    assert sent(spool, store).state == "sent"
    assert store.points == list(range(10))
    assert (store.artifacts / "config/fit.yaml").exists()


def test_a_file_shorter_than_what_was_sent_is_named(spool, store):
    SpoolReader(spool).mark_sent(points(spool).stat().st_size)
    os.truncate(points(spool), 100)
    result = sent(spool, store)
    assert result.state == "damaged"
    # the content whose record is gone is kept
    (kept,) = (p for p in spool.with_name(RUN + ".damaged").rglob("*") if p.name == "fit.yaml")
    assert kept.read_text() == "a: 1\n"


def test_a_torn_end_is_set_aside(spool, store):
    with points(spool).open("ab") as file:
        file.write(b'0000004a 12345678 {"op":"met')
    assert sent(spool, store).state == "damaged"
    assert store.points == list(range(10))


MALFORMED = [
    {"op": "metrics"},
    {"op": "metrics", "v": {"a": "x"}, "s": 0, "t": 0},
    {"op": "metrics", "v": {"a": 1.0}, "s": 2**70, "t": 0},
    {"op": "metrics", "v": {"a": 10**400}, "s": 0, "t": 0},
    {"op": "metrics", "v": {"\ud800": 1.0}, "s": 0, "t": 0},
    {"op": "tags", "v": ["a"]},
    {"op": "status", "v": "GONE", "t": 0},
    {"op": "artifact", "path": "a", "source": "", "move": True},
    {"op": "artifact", "path": "../../a", "source": "f/a", "move": True},
    {"op": "artifact", "path": "/a", "source": "f/a", "move": True},
    {"op": "artifact", "path": "a", "source": "..", "move": True},
    {"op": 3},
    [],
    "text",
]


@pytest.mark.parametrize("malformed", MALFORMED, ids=repr)
@pytest.mark.parametrize("framed", [True, False])
def test_a_malformed_record_holds_up_nothing(spool, store, malformed, framed):
    line = frames.frame(malformed) if framed else json.dumps(malformed).encode() + b"\n"
    lines = points(spool).read_bytes().splitlines(keepends=True)
    points(spool).write_bytes(b"".join([*lines[:5], line, *lines[5:]]))
    before = sorted(p for p in Path.cwd().iterdir() if p.name != "artifacts")
    assert sent(spool, store).state == "damaged"
    assert store.points == list(range(10))
    assert sorted(p for p in Path.cwd().iterdir() if p.name != "artifacts") == before


def test_records_of_earlier_versions_are_read(spool, store):
    lines = [line[18:] for line in points(spool).read_bytes().splitlines(keepends=True)]
    points(spool).write_bytes(b"".join(lines))
    assert sent(spool, store).state == "sent"
    assert store.points == list(range(10))


@pytest.mark.parametrize("move", [True, False])
def test_only_files_of_the_run_are_taken(spool, store, tmp_path, move):
    """A record may name any file of the user's: none but the run's own is moved or read."""
    secret = tmp_path / "home" / "id_rsa"
    secret.parent.mkdir()
    secret.write_text("secret")
    with points(spool).open("ab") as file:
        file.write(frames.frame(operations.artifact("stolen", secret, move=move)))
    result = sent(spool, store)
    assert result.state == "refused"
    assert secret.exists()
    assert not (store.artifacts / "stolen").exists()


def test_a_spool_that_was_moved_is_sent_from_where_it_is(spool, store):
    moved = spool.rename(spool.parent.parent / "elsewhere").parent
    (moved / "s").mkdir()
    (moved / "elsewhere").rename(moved / "s" / RUN)
    (result,) = sync(moved / "s", client=store)
    assert result.state == "sent"
    assert (store.artifacts / "config/fit.yaml").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"run_id": "r2"}', None]
)
def test_damaged_meta_falls_back_on_a_store_that_knows_the_run(spool, store, content):
    if content is None:
        (spool / "meta.json").unlink()
    else:
        (spool / "meta.json").write_bytes(content)
    assert sent(spool, store).state == "sent"
    assert store.points == list(range(10))
    assert (store.artifacts / "config/fit.yaml").exists()


def test_meta_that_leads_elsewhere_is_not_believed(spool):
    text = (spool / "meta.json").read_text()
    (spool / "meta.json").write_text(text.replace('"x"', '"sqlite:///other.db"'))
    (result,) = sync(spool.parent)
    assert result.state == "failed"
    assert "MLFLOW_TRACKING_URI" in result.detail
    assert not list(Path.cwd().glob("*.db"))
    assert points(spool).exists()


@pytest.mark.parametrize("one_disk", [True, False])
@pytest.mark.parametrize("killed_at", range(4))
def test_an_artifact_survives_a_kill_between_any_two_steps(spool, store, monkeypatch, one_disk, killed_at):
    steps = 0

    class Killed(BaseException):
        pass

    def step(real):
        def wrapped(*arguments, **kwargs):
            nonlocal steps
            if real is Path.replace and not one_disk and not arguments[0].name.endswith(".part"):
                raise OSError(errno.EXDEV, "another disk")
            steps += 1
            if steps > killed_at:
                raise Killed
            return real(*arguments, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", step(Path.replace))
        patch.setattr(Path, "unlink", step(Path.unlink))
        patch.setattr(delivery.shutil, "copyfile", step(delivery.shutil.copyfile))
        with contextlib.suppress(Killed):
            Delivery(store, RUN, store.artifacts, spool).send(SpoolReader(spool).read()[0])
    assert sent(spool, store).state == "sent"
    assert (store.artifacts / "config/fit.yaml").read_text() == "a: 1\n"
    assert not list(store.artifacts.rglob(".*"))


def test_what_an_earlier_version_left_half_way_is_finished(spool, store):
    (source,) = (p for p in (spool / "files").rglob("*") if p.is_file())
    target = store.artifacts / "config"
    target.mkdir(parents=True)
    source.rename(target / ".fit.yaml.part")
    assert sent(spool, store).state == "sent"
    assert (target / "fit.yaml").read_text() == "a: 1\n"


def test_an_artifact_that_is_gone_is_said_to_be_lost(spool, store):
    (source,) = (p for p in (spool / "files").rglob("*") if p.is_file())
    source.unlink()
    result = sent(spool, store)
    assert result.state == "refused"
    assert "'config/fit.yaml' is lost" in result.detail


OPERATIONS = st.one_of(
    st.builds(
        operations.metrics,
        st.dictionaries(st.text(), st.floats(), max_size=3),
        st.integers(-(2**62), 2**62),
        st.floats(0, 1e9),
    ),
    st.builds(operations.tags, st.dictionaries(st.text(), st.text(), max_size=3)),
    st.builds(operations.name, st.text()),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(OPERATIONS, max_size=6), st.data())
def test_any_damage_to_a_byte_costs_at_most_two_records(found, data):
    """Two, where a new end of line takes the head off what is behind it."""
    written = b"".join(map(frames.frame, found))
    assert repr(frames.unframe(written).operations) == repr(found)
    if written:
        at = data.draw(st.integers(0, len(written) - 1))
        damaged = bytearray(written)
        damaged[at] = data.draw(st.integers(0, 255))
        read = frames.unframe(bytes(damaged))
        whole = list(map(repr, found))
        kept = list(map(repr, read.operations))
        assert len(kept) >= len(whole) - 1
        assert [x for x in kept if x in whole] == kept, "nothing is made up"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_garbage_gives_no_error(data):
    read = frames.unframe(data)
    assert all(operations.is_sound(found) for found in read.operations)
