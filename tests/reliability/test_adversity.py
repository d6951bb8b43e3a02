"""What else happens to a week of training: a clock that is set back, a cell killed for memory, folders of others."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from time import sleep

import psutil
import pytest

pytestmark = pytest.mark.reliability

FIT = ["fit", "--model", "ResNet", "--model.channels", "4", "--data", "Digits", "--data.train_limit", "192"]
TINY = ["--trainer.max_epochs", "4", "--trainer.log_every_n_steps", "1"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def points(place, run, name):
    found = place.client.get_metric_history(run.info.run_id, name)
    return sorted((p.step, p.value) for p in found)


def test_a_clock_that_is_set_back(victim, tally, bit_equal, rng):
    """By a day, in the middle of a fit; then another one, which begins before the first one did."""
    plain, place = victim(), victim()
    assert plain.run(*FIT, *TINY)[0] == 0, plain.said
    changes = rng.randint(20, 60)
    assert place.run(*FIT, *TINY, CAMPAIGN_CLOCK_AT=str(changes))[0] == 0, place.said
    assert "Traceback" not in place.said
    (expected,), (run,) = plain.runs(), place.runs()
    bit_equal(place.finished(run), plain.finished(expected))
    assert run.info.status == "FINISHED"
    assert (
        run.data.metrics["val/loss"] == expected.data.metrics["val/loss"]
    )  # the last step's, not the latest time's
    assert (
        place.run("fit", "--resume", run.info.run_id, "--trainer.max_epochs", "5", CAMPAIGN_CLOCK_AT="1")[0]
        == 0
    )
    steps = [step for step, _ in points(place, run, "train/loss_step")]
    assert steps == list(range(len(steps)))
    assert not list((place.folder / "integrand-runs/spool").glob("*"))
    tally["clock set back by a day"]["fits bit-equal"] += 1


SUITE = """
name: memory
models: [neural_ode, resnet]
recipe: digits
seeds: [0]
overrides:
  data.train_limit: 192
  model.channels: 4
  trainer.max_epochs: 8
"""


def cell_of(place, among):
    """The process that trains a cell, by the name that it gives itself; None where there is none now."""
    for found in place.at_work():
        with contextlib.suppress(psutil.NoSuchProcess):
            if found.name() == "integrand" and found.pid not in among:
                return found
    return None


def test_a_cell_killed_for_memory_is_tried_again(victim, tally, bit_equal, rng):
    """As the kernel kills it: SIGKILL to the one process that is large."""
    plain, place = victim(), victim()
    for folder in (plain.folder, place.folder):
        (folder / "s.yaml").write_text(SUITE)
    command = ["suite", "run", "s.yaml", "--jobs", "1"]
    assert plain.run(*command)[0] == 0, plain.said
    seen, kills = set(), 0
    with place.start(*command) as process:
        seen.add(process.pid)
        while process.poll() is None:
            # each cell's first try: a second kill of one would be one too many
            if len(seen) < 3 and (cell := cell_of(place, seen)) is not None:
                sleep(rng.uniform(0.5, 3.0))
                seen.add(cell.pid)
                with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended well before that
                    cell.send_signal(signal.SIGKILL)
                    kills += 1
            sleep(0.05)
        assert process.wait(600) == 0, place.said
    assert kills
    tally["cell killed for memory"]["kills"] += kills
    expected = {run.data.tags["run_key"]: plain.finished(run) for run in plain.runs()}
    ended = [run for run in place.runs() if run.info.status == "FINISHED"]
    assert sorted(run.data.tags["run_key"] for run in ended) == sorted(expected)
    for run in ended:
        bit_equal(place.finished(run), expected[run.data.tags["run_key"]])
        tally["cell killed for memory"]["runs bit-equal"] += 1


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="becomes an ordinary user")
@pytest.mark.parametrize("what", ["working directory", "INTEGRAND_RUNS", "artifacts"])
def test_a_folder_of_somebody_else(what, tmp_path_factory, tally):
    """One line that names it and what to set, code 1, and no run that stays RUNNING."""
    root = tmp_path_factory.mktemp("users")
    for folder in (root, *root.parents):
        if folder.owner() == "root" and str(folder) != "/tmp":
            folder.chmod(folder.stat().st_mode | 0o055)
    own, other = root / "own", root / "other"
    own.mkdir()
    own.chmod(0o777)
    other.mkdir()
    here, more, variables = own, [], {}
    if what == "working directory":
        here = other
    elif what == "INTEGRAND_RUNS":
        variables = {what: str(other)}
    else:
        more = ["--trainer.logger.artifact_dir", str(other)]
    environment = os.environ | {"HOME": str(own), "INTEGRAND_OFFLINE": "1"} | variables
    command = [*NOBODY, sys.executable, "-m", "integrand", *FIT, *TINY, *more]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("integrand: error:")]
    assert str(other) in line
    assert "→" in line
    assert "Traceback" not in done.stderr
    if what != "working directory":
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{own}/mlflow.db")
        runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
        assert {run.info.status for run in runs} <= {"FAILED"}
    tally["folder of another user"]["told in one line"] += 1


PLANTED = {
    "MLFLOW_TRACKING_PASSWORD": "planted-password",
    "MLFLOW_TRACKING_TOKEN": "planted-token",
    "AWS_SECRET_ACCESS_KEY": "planted-key",
    "HF_TOKEN": "planted-hub",
}


def test_planted_secrets_are_in_no_file(victim, tally):
    """A fit that ends, one that fails with a traceback, a report: every byte that they leave is searched."""
    place = victim()
    (place.folder / "broken.py").write_text(
        "from integrand.modules import ResNet\n"
        "class Broken(ResNet):\n"
        "    '''Fails.\n\n    Args:\n        spec: Data.\n        **kwargs: See ResNet.\n    '''\n"
        "    family = ''\n"
        "    def training_step(self, batch, batch_idx):\n"
        "        raise RuntimeError('made to fail')\n"
    )
    assert place.run(*FIT, *TINY, "--test_after_fit", "true", **PLANTED)[0] == 0, place.said
    said = place.said
    code, more = place.run("fit", "--model", "broken.Broken", *FIT[3:], **PLANTED)
    assert code == 1, more
    assert "made to fail" in more
    code, report = place.run("compare", "--experiment", "integrand", **PLANTED)
    assert code == 0, report
    for text in (said, more, report):
        assert "planted-" not in text
    files = [path for path in place.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert b"planted-" not in path.read_bytes(), path
    tally["planted secrets"]["files searched"] += len(files)
