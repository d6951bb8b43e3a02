"""Killed anywhere, gone on with, killed again: in the end it is as if nothing had happened, bit for bit."""

import signal
from time import sleep

import pytest

pytestmark = pytest.mark.reliability

TINY = ["--trainer.max_epochs", "5", "--trainer.log_every_n_steps", "1", "--trainer.limit_train_batches", "3"]
LIMITS = ["--trainer.limit_val_batches", "1"]
DIGITS = ["--data", "Digits", "--data.train_limit", "192"]
HALVES = ["--model.solver", "Midpoint", "--model.solver.step_size", "0.5"]
FITS = {
    "classifier": ["--model", "NeuralODE", *DIGITS, "--model.channels", "4", *HALVES],
    "stochastic": ["--model", "NeuralSDE", *DIGITS, "--model.channels", "4"],
    "generative": ["--model", "FlowMatching", "--data", "TwoMoons", "--data.train_size", "512"],
    "trajectory": ["--model", "HamiltonianNN", "--data", "Spring"],
}
STORIES = ["at random", "at changes of files", "SIGTERM", "SIGINT"]
SIGNALS = {"at random": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
ALLOWED = {
    "at random": {0, -9},
    "at changes of files": {0, -9},
    "SIGTERM": {0, 143, -15},
    "SIGINT": {0, 130, -2},
}
KILLS_PER_RUN = 5


@pytest.fixture(scope="module")
def undisturbed(victim, clock):
    """How each fit ends if it is left alone, how long that takes, and how often it changes files."""
    found = {}

    def fit(kind):
        if kind not in found:
            place = victim()
            count = place.folder / "count"
            command = ["fit", *FITS[kind], *TINY, *LIMITS]
            began = clock()
            code, said = place.run(*command, CAMPAIGN_COUNT=str(count))
            assert code == 0, said
            (run,) = place.runs()
            found[kind] = (place.finished(run), clock() - began, int(count.read_text()))
        return found[kind]

    return fit


def again(place):
    """What a user does next: goes on with the newest run; None where there is nothing to go on with."""
    for run in place.runs()[:1]:
        if list(place.folder.glob(f"mlartifacts/*/{run.info.run_id}/artifacts/checkpoints/last.ckpt")):
            return ["fit", "--resume"]
    return None


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("story", STORIES)
def test_a_fit(kind, story, undisturbed, victim, rng, tally, bit_equal, kills):
    wanted = -(-kills // len(FITS))
    expected, seconds, changes = undisturbed(kind)
    counts = tally[f"fit killed: {story}"]
    while wanted > 0:
        place = victim()
        fresh = ["fit", *FITS[kind], *TINY, *LIMITS]
        for _ in range(KILLS_PER_RUN):
            command = again(place) or fresh
            if story == "at changes of files":
                code = place.disturbed(command, at=rng.randint(1, changes))
            else:
                code = place.disturbed(command, SIGNALS[story], after=rng.uniform(0.05, seconds))
            assert code in ALLOWED[story], place.said
            if code == 0:
                break
            counts["kills"] += 1
            wanted -= 1
        if code != 0:
            code, said = place.run(*(again(place) or fresh))
            assert code == 0, said
        newest = place.runs()[0]
        assert newest.info.status == "FINISHED"
        assert place.run("sync")[0] == 0, place.said
        bit_equal(place.finished(newest), expected)
        assert not [run for run in place.runs() if run.info.status == "RUNNING"]
        assert not list((place.folder / "integrand-runs/spool").glob("*"))
        counts["runs bit-equal"] += 1


SUITE = """
name: killed
models: [neural_ode]
recipe: digits
seeds: [0, 1]
overrides:
  data.train_limit: 192
  model.channels: 4
  trainer.max_epochs: 3
  trainer.log_every_n_steps: 1
"""


@pytest.mark.parametrize("story", STORIES)
def test_a_suite(story, victim, rng, tally, bit_equal, clock, kills):
    wanted = max(1, kills // 10)
    command = ["suite", "run", "s.yaml", "--jobs", "1"]
    place = victim()
    (place.folder / "s.yaml").write_text(SUITE)
    began = clock()
    code, said = place.run(*command)
    seconds = clock() - began
    assert code == 0, said
    expected = {run.data.tags["run_key"]: place.finished(run) for run in place.runs()}
    counts = tally[f"suite killed: {story}"]
    while wanted > 0:
        place = victim()
        (place.folder / "s.yaml").write_text(SUITE)
        for _ in range(KILLS_PER_RUN):
            if story == "at changes of files":
                code = place.disturbed(command, at=rng.randint(1, 40))
            else:
                code = place.disturbed(command, SIGNALS[story], after=rng.uniform(0.05, seconds))
            if code == 0:
                break
            counts["kills"] += 1
            wanted -= 1
        # the cell of a killed command goes on by itself, and the next command leaves it alone
        deadline = clock() + 10 * seconds + 60
        while code != 0 and clock() < deadline:
            code, said = place.run(*command)
            assert code == 0 or "running elsewhere" in said, said
            sleep(1)
        assert code == 0, said
        # each cell once: what a killed command left at work is not done again
        ended = [run for run in place.runs() if run.info.status == "FINISHED"]
        assert sorted(run.data.tags["run_key"] for run in ended) == sorted(expected)
        for run in ended:
            bit_equal(place.finished(run), expected[run.data.tags["run_key"]])
        counts["suites bit-equal"] += 1


SWEEP = f"""{SUITE}
sweep:
  metric: val/loss
  n_trials: 2
  sampler: {{class_path: GridSampler}}
  space:
    model.optimizer.lr: [0.01, 0.001]
""".replace("seeds: [0, 1]", "seeds: [0]")


def rate(run):
    return run.data.tags["param.model.optimizer.lr"]


@pytest.mark.parametrize("story", ["at random", "SIGTERM"])
def test_a_sweep(story, victim, rng, tally, bit_equal, clock, kills):
    pytest.importorskip("optuna")
    wanted = max(1, kills // 10)
    command = ["suite", "sweep", "s.yaml", "--jobs", "1"]
    plain = victim()
    (plain.folder / "s.yaml").write_text(SWEEP)
    began = clock()
    code, said = plain.run(*command)
    seconds = clock() - began
    assert code == 0, said
    expected = {rate(run): plain.finished(run) for run in plain.runs()}
    assert len(expected) == 2
    counts = tally[f"sweep killed: {story}"]
    while wanted > 0:
        place = victim()
        (place.folder / "s.yaml").write_text(SWEEP)
        for _ in range(KILLS_PER_RUN):
            code = place.disturbed(command, SIGNALS[story], after=rng.uniform(0.05, seconds))
            if code == 0:
                break
            counts["kills"] += 1
            wanted -= 1
        deadline = clock() + 10 * seconds + 60
        while code != 0 and clock() < deadline:  # a trial of a killed command goes on by itself
            code, said = place.run(*command)
            assert "Traceback" not in said, said
        assert code == 0, place.said
        ended = [run for run in place.runs() if run.info.status == "FINISHED"]
        assert {rate(run) for run in ended} == set(expected)
        for run in ended:
            bit_equal(place.finished(run), expected[rate(run)])
        assert not [run for run in place.runs() if run.info.status == "RUNNING"]
        counts["sweeps whole"] += 1


def test_sync(victim, rng, tally):
    """Killed at every change of a file that it makes, one after the other."""
    from integrand.tracking.spool import operations
    from integrand.tracking.spool.spool import Spool

    counts = tally["sync killed at changes of files"]
    place = victim()
    experiment = place.client.create_experiment("e", artifact_location=str(place.folder / "mlartifacts/e"))
    at = 1
    while True:
        run = place.client.create_run(experiment)
        run_id = run.info.run_id
        artifacts = place.folder / f"mlartifacts/e/{run_id}/artifacts"
        meta = {
            "run_id": run_id,
            "tracking_uri": f"sqlite:///{place.folder}/mlflow.db",
            "artifact_dir": str(artifacts),
        }
        spool = Spool(place.folder / "integrand-runs/spool" / run_id, meta)
        for step in range(20):
            spool.append(operations.metrics({"a": rng.random()}, step, step))
        contents = {f"config/{n}.yaml": rng.randbytes(1000) for n in range(3)}
        for name, content in contents.items():
            file = spool.new_file(name.rpartition("/")[2])
            file.write_bytes(content)
            spool.append(operations.artifact(name, file, move=True))
        spool.append(operations.status("FINISHED"))
        spool._lock.release()
        code = place.disturbed(["sync"], at=at)
        assert code in (0, -9), place.said
        counts["kills"] += code != 0
        assert place.run("sync")[0] == 0, place.said
        assert len(place.client.get_metric_history(run_id, "a")) == 20
        assert {name: (artifacts / name).read_bytes() for name in contents} == contents
        assert place.client.get_run(run_id).info.status == "FINISHED"
        counts["spools whole"] += 1
        if code == 0:
            break
        at += 1
