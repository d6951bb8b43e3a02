"""`sync` that is killed: whatever it was doing, the next one sends the rest, and nothing twice."""

import pytest

pytestmark = pytest.mark.reliability

POINTS = 20


class Given:
    """A spool with values, files and an end, as a run leaves it that could not reach its store.

    Args:
        place: Where.
        rng: Its contents.
    """

    def __init__(self, place, rng):
        from integrand.tracking.spool import operations
        from integrand.tracking.spool.spool import Spool

        self.place = place
        root = place.folder / "mlartifacts/e"
        found = place.client.get_experiment_by_name("e")
        experiment = found.experiment_id if found else place.client.create_experiment("e", str(root))
        self.run_id = place.client.create_run(experiment).info.run_id
        self.artifacts = root / self.run_id / "artifacts"
        meta = {
            "run_id": self.run_id,
            "tracking_uri": f"sqlite:///{place.folder}/mlflow.db",
            "artifact_dir": str(self.artifacts),
        }
        spool = Spool(place.folder / "integrand-runs/spool" / self.run_id, meta)
        self.values = [rng.random() for _ in range(POINTS)]
        for step, value in enumerate(self.values):
            spool.append(operations.metrics({"a": value}, step, step))
        self.contents = {f"config/{n}.yaml": rng.randbytes(1000) for n in range(3)}
        for name, content in self.contents.items():
            file = spool.new_file(name.rpartition("/")[2])
            file.write_bytes(content)
            spool.append(operations.artifact(name, file, move=True))
        spool.append(operations.status("FINISHED"))
        spool._lock.release()

    def assert_whole(self):
        history = self.place.client.get_metric_history(self.run_id, "a")
        assert [(p.step, p.value) for p in history] == list(enumerate(self.values))
        assert {name: (self.artifacts / name).read_bytes() for name in self.contents} == self.contents
        assert self.place.client.get_run(self.run_id).info.status == "FINISHED"
        assert not list((self.place.folder / "integrand-runs/spool").glob("*"))


def test_at_every_change_of_a_file(victim, rng, tally):
    """One after the other."""
    counts = tally["sync killed: at each change of files in turn"]
    place = victim()
    code, at = None, 1
    while code != 0:
        given = Given(place, rng)
        code, said = place.run("sync", CAMPAIGN_KILL_AT=f"sync {at}")
        assert code in (0, -9), said
        counts["kills"] += code != 0
        assert place.run("sync")[0] == 0, place.said
        given.assert_whole()
        counts["spools whole"] += 1
        at += 1


def test_by_each_story(story, victim, rng, tally, clock, kills, pace):
    place = victim()
    Given(place, rng)
    began = clock()
    assert place.run("sync")[0] == 0, place.said
    pace = pace(clock() - began, sync=place.changes("sync"))
    counts = tally[f"sync killed: {story}"]
    left = kills
    while left > 0:
        given = Given(place, rng)
        code, ended = place.disturbed(["sync"], story, rng, pace)
        assert code == 0 or ended, place.said
        counts["kills"] += ended
        left -= ended
        assert place.run("sync")[0] == 0, place.said
        given.assert_whole()
        counts["spools whole"] += 1
