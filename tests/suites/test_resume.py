"""A real cell, killed twice in mid-training, must leave what an undisturbed one leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml

EPOCHS, STEPS = 8, 4
SUITE = {
    "name": "resumed",
    "recipe": "digits",
    "models": ["neural_ode"],
    "overrides": {
        "data.train_limit": 256,  # 4 steps of 64 an epoch
        "model.channels": 4,
        "trainer.max_epochs": EPOCHS,
        "trainer.log_every_n_steps": 1,
    },
}
TIMED = ("cost/", "basics/cost_seconds")
SERIES = ("train/loss_step", "train/loss", "val/loss", "val/acc", "solver/nfe_forward", "basics/total_nfe")


class Place:
    """A folder in which the suite is run."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "s.yaml").write_text(yaml.safe_dump(SUITE, sort_keys=False))

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "integrand", "suite", *arguments],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # a test runner in the background may ignore SIGINT, and children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, *arguments):
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=300)
        return process.returncode, out

    def wait_for_epoch(self, process, number):
        """Wait until the cell has printed the end of an epoch; the next one is then going on."""
        deadline = time.monotonic() + 240
        while not any(f"epoch {number}/" in p.read_text() for p in self.folder.glob("**/suites/*/*.log")):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def runs(self):
        experiment = self.client.get_experiment_by_name("resumed").experiment_id
        found = self.client.search_runs([experiment])
        return [r for r in found if "role" not in r.data.tags], [r for r in found if "role" in r.data.tags]

    def points(self, run, name):
        return [(p.step, p.value) for p in self.client.get_metric_history(run.info.run_id, name)]

    def file(self, run, path):
        return Path(run.info.artifact_uri.removeprefix("file://")) / path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    code, out = place.run("run", "s.yaml", "--jobs", "1")
    assert code == 0, out
    return place


@pytest.mark.slow
def test_a_cell_killed_twice_ends_as_if_nothing_had_happened(undisturbed, tmp_path):
    place = Place(tmp_path)
    process = place.start("run", "s.yaml", "--jobs", "1")
    place.wait_for_epoch(process, 2)
    (cell,) = [p for p in psutil.Process(process.pid).children() if "fit" in p.cmdline()]
    cell.send_signal(signal.SIGKILL)  # as the kernel does when memory runs out: the launcher tries again
    place.wait_for_epoch(process, 5)
    process.send_signal(signal.SIGINT)  # as a user does
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert "retried" in out
    assert "ended by SIGKILL" in out
    (run,), (parent,) = place.runs()
    assert (run.info.status, run.data.tags["status"]) == ("KILLED", "killed")
    assert (parent.info.status, parent.data.tags["status"]) == ("KILLED", "killed")
    code, out = place.run("status", "s.yaml", "--json")
    assert json.loads(out)["cells"][0]["state"] == "stopped"

    code, out = place.run("run", "s.yaml", "--jobs", "1")
    assert code == 0, out
    assert "1 to run (1 of them from their last checkpoint)" in out
    (run,), (parent,) = place.runs()
    (expected,), _ = undisturbed.runs()
    assert (run.info.status, run.data.tags["status"], run.data.tags["resumed"]) == (
        "FINISHED",
        "finished",
        "2",
    )
    assert "error" not in run.data.tags, "what ended it before holds no longer"
    assert run.data.tags["run_key"] == expected.data.tags["run_key"]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["basics/seeds"] == 1

    # every point once, and every value that of the undisturbed run
    assert [s for s, _ in place.points(run, "train/loss_step")] == list(range(EPOCHS * STEPS))
    for name in SERIES:
        assert place.points(run, name) == undisturbed.points(expected, name), name
    same = {k: v for k, v in run.data.metrics.items() if not k.startswith(TIMED)}
    assert same == {k: v for k, v in expected.data.metrics.items() if not k.startswith(TIMED)}

    # bit for bit: one process on a CPU, and Lightning's resume is exact from the end of an epoch
    for which in ("best", "last"):
        weights, wanted = (
            torch.load(p.file(r, f"checkpoints/{which}.ckpt"), weights_only=True)["state_dict"]
            for p, r in ((place, run), (undisturbed, expected))
        )
        assert set(weights) == set(wanted)
        assert all(torch.equal(weights[k], wanted[k]) for k in wanted), which

    # the record is whole, although the first process could not write one
    record, wanted = (
        json.loads(p.file(r, "record.json").read_text()) for p, r in ((place, run), (undisturbed, expected))
    )
    for name in SERIES:
        series, other = ([(s, e, v) for s, e, _, v in h["history"][name]] for h in (record, wanted))
        assert series == other, name
    seconds = [s for _, _, s, _ in record["history"]["train/loss_step"]]
    assert seconds == sorted(seconds)
    assert record["status"] == "FINISHED"
    assert record["error"] is None


@pytest.mark.slow
def test_a_parent_is_no_run_to_a_comparison(undisturbed, monkeypatch):
    from integrand.comparison.records.store import load_mlflow

    monkeypatch.chdir(undisturbed.folder)
    runs, parents = undisturbed.runs()
    assert len(parents) == 1
    assert [r.run_id for r in load_mlflow("resumed")] == [runs[0].info.run_id]


@pytest.mark.slow
def test_what_the_ui_shows_of_a_run_and_of_its_parent(undisturbed):
    (run,), (parent,) = undisturbed.runs()
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert (run.info.run_name, parent.info.run_name) == ("s0 neural_ode", "neural_ode")
    shared = ("family", "data", "solver", "status")
    assert {k: tags[k] for k in shared} == {k: parent.data.tags[k] for k in shared}
    # groups of charts stand in alphabetical order, and the basics come before all others
    groups = sorted({name.partition("/")[0] for name in run.data.metrics})
    assert groups[0] == "basics"
    assert {"basics/quality", "basics/nfe", "basics/cost_seconds"} <= set(run.data.metrics)
    assert run.data.metrics["basics/quality"] == run.data.metrics["val/acc"]
    assert run.data.metrics["basics/nfe"] == run.data.metrics["solver/nfe_forward"]
    note = tags["mlflow.note.content"]
    for path in ("config/fit.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "record.json"):
        assert f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/{path})" in note
        assert undisturbed.file(run, path).exists()
    assert f"runs/{run.info.run_id})" in parent.data.tags["mlflow.note.content"]
    # what belongs to this one run is not in the configuration that repeats it
    logger = yaml.safe_load(undisturbed.file(run, "config/fit.yaml").read_text())["trainer"]["logger"][
        "init_args"
    ]
    assert (logger["resume"], logger["parent_run_id"], logger["tags"]) == (False, None, None)


@pytest.mark.slow
def test_a_seed_under_a_parent_can_be_tested_by_itself(undisturbed, monkeypatch):
    from integrand.cli.recorded import recorded_run

    monkeypatch.chdir(undisturbed.folder)
    (run,), _ = undisturbed.runs()
    for which in (run.info.run_id, "latest", "s0 neural_ode"):
        assert recorded_run(which, "best").run_id == run.info.run_id
