"""A sweep on stub trials: asking, telling, going on after a kill; and one real sweep, interrupted."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

pytest.importorskip("optuna")

from integrand.cli import suite as command
from integrand.errors import AlreadyRunning, UsageError
from integrand.suites import study as studies
from integrand.suites import sweep as sweep_module
from integrand.suites.journal import Journal
from integrand.suites.launcher import Outcome, Task
from integrand.suites.spec import read_suite
from integrand.suites.store import StoredCell
from integrand.suites.sweep import Sweep

SPACE = {"model.lr": {"low": 1e-4, "high": 0.1, "log": True}, "model.width": [4, 8]}


class Engine:
    """A launcher whose tasks end as `ends(number, params)` says, and the store that has their runs."""

    def __init__(self, ends, stop_after=None, code=1):
        self.ends, self.code = ends, code
        self.stop_after = stop_after
        self.runs = {}
        self.started = []

    def launch(self, tasks, observer):
        outcomes = []
        for task in tasks:
            observer.started(task, 1)
            options = dict(zip(task.command, task.command[1:], strict=False))
            tags = json.loads(options["--trainer.logger.tags"])
            number = int(tags["trial"])
            self.started.append(number)
            if self.stop_after is not None and len(self.started) > self.stop_after:
                outcome = Outcome(task, "interrupted", 1.0, 1, -15)
            else:
                run = self.ends(number, {k: v for k, v in tags.items() if k.startswith("param.")})
                if run is not None:
                    self.runs[task.key] = run
                outcome = Outcome(task, "finished", 1.0, 1, 0)
                if run is None or run.state == "interrupted":
                    outcome = Outcome(task, "failed", 1.0, 1, self.code, f"exit code {self.code}")
            outcomes.append(outcome)
            observer.ended(outcome)
            if outcome.state == "interrupted":
                break
        return outcomes

    def find(self, key):
        return self.runs.get(key)


class NoParents:
    experiment_id = "0"
    described = None

    def __init__(self, *args):
        pass

    def of(self, cell):
        return ""

    def describe(self, cell, note, values, status):
        NoParents.described = (note, values, status)


@pytest.fixture
def make(suite_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep_module, "ParentRuns", NoParents)

    def build(create=True, **changes):
        section = {"space": SPACE, "n_trials": 4} | changes
        path = suite_file(seeds=[0], experiments=["a.yaml"], sweep=section)
        console = Console(file=io.StringIO(), width=200)
        return Sweep(read_suite(str(path)), Journal(tmp_path / "journal"), console, create)

    return build


def quality(value, **fields):
    return StoredCell("finished", f"run-{value}", 1.0, "", metrics={"best/val_acc": value, **fields})


def states(sweep):
    return [t.state.name for t in sweep.study.get_trials()]


def test_every_trial_is_told_and_the_best_is_known(make):
    sweep = make()
    engine = Engine(lambda number, params: quality(number / 10))
    assert sweep.run(engine, engine.find)
    assert states(sweep) == ["COMPLETE"] * 4
    best = studies.best_trial(sweep.study)
    assert (best.number, best.value, best.user_attrs["run_id"]) == (3, 0.3, "run-0.3")
    assert all(1e-4 <= t.params["model.lr"] <= 0.1 for t in sweep.study.get_trials())
    note, values, status = NoParents.described
    assert status == "FINISHED"
    assert values["basics/quality"] == 0.3
    assert note.index("run-0.3"[:8]) < note.index("run-0.2"[:8])
    again = make()
    assert again.run(Engine(lambda *_: pytest.fail("there is nothing to do")), engine.find)


def test_a_trial_is_an_ordinary_cell_with_its_number_and_options(make):
    sweep = make(pruner="MedianPruner")
    trial = studies.ask(sweep.study, sweep.space)
    cell = sweep.cell(trial.number, trial.params)
    words = sweep.command(trial.number, trial.params, cell)
    assert f"--model.lr={trial.params['model.lr']}" in words
    assert words[-4:] == (
        "--trainer.callbacks+=integrand.suites.pruning.ReportTrial",
        "--trainer.callbacks.study=s/" + sweep.base.experiment,
        "--trainer.callbacks.trial=0",
        "--trainer.callbacks.monitor=val/acc",
    )
    tags = json.loads(words[words.index("--trainer.logger.tags") + 1])
    assert tags["trial"] == "0"
    assert tags["param.model.width"] == str(trial.params["model.width"])
    # equal options are the same computation, whichever trial draws them
    assert sweep.cell(7, trial.params).key == cell.key
    assert sweep.cell(7, {**trial.params, "model.lr": 0.05}).key != cell.key


def test_failed_pruned_and_incomplete_runs_have_states_of_their_own(make):
    def ends(number, params):
        if number == 0:
            return None
        if number == 1:
            return StoredCell("pruned", "p", 1.0, "pruned in epoch 2", metrics={"best/val_acc": 0.9})
        return (
            StoredCell("finished", "m", 1.0, "", metrics={"best/val_loss": 1.0})
            if number == 2
            else quality(0.5)
        )

    sweep = make()
    engine = Engine(ends)
    assert sweep.run(engine, engine.find)
    assert states(sweep) == ["FAIL", "PRUNED", "FAIL", "COMPLETE"]
    errors = [t.user_attrs.get("error") for t in sweep.study.get_trials()]
    assert errors[:2] == ["exit code 1", "pruned in epoch 2"]
    assert errors[2] == "its run has no metric best/val_acc; it has best/val_loss"
    assert studies.best_trial(sweep.study).number == 3


def test_an_interrupted_trial_is_gone_on_with_first(make):
    sweep = make()
    engine = Engine(lambda number, params: quality(number / 10), stop_after=1)
    assert not sweep.run(engine, engine.find)
    assert states(sweep) == ["COMPLETE", "RUNNING"]
    assert NoParents.described[2] == "KILLED"
    params = sweep.study.get_trials()[1].params
    again = make()
    second = Engine(lambda number, params: quality(number / 10))
    assert again.run(second, second.find)
    assert second.started == [1, 2, 3]
    assert states(again) == ["COMPLETE"] * 4
    assert again.study.get_trials()[1].params == params


@pytest.mark.parametrize(("code", "state"), [(-9, "RUNNING"), (143, "RUNNING"), (75, "RUNNING"), (1, "FAIL")])
@pytest.mark.parametrize("run", [None, StoredCell("interrupted", "i", 1.0, "killed")])
def test_a_killed_trial_is_gone_on_with_and_a_failed_one_is_not(make, run, code, state):
    """Killed for want of memory, its sweep going on; or another process had the trial still."""
    sweep = make(n_trials=2)
    engine = Engine(lambda number, params: run if number == 0 else quality(0.2), code=code)
    assert sweep.run(engine, engine.find) == (state == "FAIL")
    assert states(sweep) == [state, "COMPLETE"]
    again = make(n_trials=2)
    engine.ends, engine.started = lambda number, params: quality(0.3), []
    assert again.run(engine, engine.find)
    assert engine.started == ([0] if state == "RUNNING" else [])
    assert states(again) == ["COMPLETE" if state == "RUNNING" else "FAIL", "COMPLETE"]


@pytest.mark.parametrize(
    ("code", "at_last"), [(-9, "FAIL"), (137, "FAIL"), (143, "RUNNING"), (75, "RUNNING")]
)
def test_a_trial_that_is_killed_again_and_again_has_failed(make, code, at_last):
    """It needs more memory than there is; who is told to end, or waits for another process, may go on for ever."""
    engine = Engine(lambda number, params: quality(0.2) if number else None, code=code)
    for state in ("RUNNING", "RUNNING", at_last):
        sweep = make(n_trials=2)
        assert sweep.run(engine, engine.find) == (state == "FAIL")
        assert states(sweep) == [state, "COMPLETE"]
    assert engine.started == [0, 1, 0, 0]
    if at_last == "FAIL":
        (trial, _) = sweep.study.get_trials()
        assert trial.user_attrs["error"] == f"exit code {code}; it was killed 3 times"
        assert make(n_trials=2).run(engine, engine.find)
        assert engine.started == [0, 1, 0, 0]


def test_a_trial_that_was_killed_because_it_hung_has_failed():
    task = Task("k", "trial 0", (), Path("log"), limit=10.0)
    assert not sweep_module._can_go_on(Outcome(task, "failed", 10.5, 1, -9, "hung"))
    assert sweep_module._can_go_on(Outcome(task, "failed", 9.5, 1, -9, "killed"))


def test_a_sweep_that_goes_on_draws_no_trial_twice(make):
    """A seeded sampler starts its numbers again in every process."""
    sweep = make(sampler="RandomSampler", n_trials=2)
    engine = Engine(lambda number, params: quality(0.1))
    sweep.run(engine, engine.find)
    again = make(sampler="RandomSampler", n_trials=4)
    again.run(engine, engine.find)
    assert len({t.params["model.lr"] for t in again.study.get_trials()}) == 4


def test_equal_trials_share_a_run(make):
    sweep = make(space={"model.width": [4]}, n_trials=3)
    engine = Engine(lambda number, params: quality(0.4))
    assert sweep.run(engine, engine.find)
    assert engine.started == [0]
    assert states(sweep) == ["COMPLETE"] * 3


def test_a_trial_whose_process_outlived_its_sweep_is_not_run_beside_it(make):
    sweep = make()
    trial = studies.ask(sweep.study, sweep.space)
    key = sweep.cell(trial.number, trial.params).key
    engine = Engine(lambda *_: quality(0.1))
    engine.runs[key] = StoredCell("running", "abcdefghij", None, "")
    with pytest.raises(AlreadyRunning, match=r"trial 0 .* still runs \(run abcdefgh\)"):
        sweep.run(engine, engine.find)


def test_the_grid_is_searched_once(make):
    space = {"model.width": [4, 8], "model.depth": [1, 2]}
    sweep = make(space=space, sampler="GridSampler", n_trials=10)
    engine = Engine(lambda number, params: quality(0.1 * number))
    assert sweep.run(engine, engine.find), "a searched grid is a complete sweep"
    found = {(t.params["model.width"], t.params["model.depth"]) for t in sweep.study.get_trials()}
    assert found == {(4, 1), (4, 2), (8, 1), (8, 2)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sampler": "TPSampler"}, "no sampler TPSampler → its samplers: .*TPESampler"),
        ({"pruner": "Median"}, "no pruner Median"),
        ({"sampler": {"class_path": "TPESampler", "init_args": {"startup": 3}}}, "TPESampler"),
        ({"sampler": "GridSampler"}, "cannot search the range of model.lr"),
        ({"storage": "sqlite:///mlflow.db"}, "is the tracking store"),
    ],
)
def test_mistakes(make, change, says):
    with pytest.raises(UsageError, match=says):
        make(**change)


def test_a_study_belongs_to_one_configuration(make):
    make()
    with pytest.raises(UsageError, match="another configuration or direction"):
        make(direction="minimize")
    with pytest.raises(UsageError, match="another configuration or direction"):
        make(metric="best/val_loss")


def test_looking_creates_nothing(make, tmp_path):
    assert make(create=False).study is None
    assert not (tmp_path / "integrand-runs").exists()


def test_run_and_sweep_are_not_confused(suite_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = suite_file(seeds=[0], sweep={"space": SPACE})
    with pytest.raises(UsageError, match="integrand suite sweep SUITE"):
        command.run(["run", str(path)])
    with pytest.raises(UsageError, match="integrand suite run"):
        command.run(["sweep", str(suite_file())])


REAL = {
    "name": "searched",
    "recipe": "digits",
    "models": ["resnet"],
    "overrides": {"data.train_limit": 256, "trainer.log_every_n_steps": 1, "trainer.max_epochs": 8},
    "sweep": {
        "n_trials": 2,
        "sampler": "GridSampler",
        "space": {"model.channels": [4, 6]},
        # far above what these epochs reach, and only from the seventh epoch on
        "pruner": {"class_path": "ThresholdPruner", "init_args": {"lower": 0.0, "n_warmup_steps": 6}},
    },
}


@pytest.mark.slow
def test_a_real_sweep_interrupted_and_gone_on_with(tmp_path):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(REAL, sort_keys=False))
    words = [sys.executable, "-m", "integrand", "suite", "sweep", "s.yaml", "--jobs", "1"]
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 240
    while not any("epoch 2/" in p.read_text() for p in tmp_path.glob("**/suites/*/*.log")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 are gone on with" in done.stdout

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("searched").experiment_id])
    (parent,) = [r for r in found if "role" in r.data.tags]
    trials = sorted((r for r in found if "role" not in r.data.tags), key=lambda r: r.data.tags["trial"])
    assert [r.data.tags["trial"] for r in trials] == ["0", "1"]
    assert [r.data.tags.get("resumed") for r in trials] == ["1", None]
    assert {r.data.tags["mlflow.parentRunId"] for r in trials} == {parent.info.run_id}
    assert all(r.data.tags["param.model.channels"] == r.data.params["model.channels"] for r in trials)
    best = max(trials, key=lambda r: r.data.metrics["best/val_acc"])
    assert parent.data.metrics["basics/quality"] == best.data.metrics["best/val_acc"]

    (path,) = tmp_path.glob("integrand-runs/suites/searched/best-*.yaml")
    config = yaml.safe_load(path.read_text())
    assert best.info.run_id in path.read_text()
    assert str(config["model"]["init_args"]["channels"]) == best.data.params["model.channels"]
    # what belonged to the trial is gone: the file makes an ordinary run
    assert config["trainer"]["callbacks"] is None
    assert config["trainer"]["logger"]["init_args"]["tags"] is None
    check = subprocess.run(
        [*words[:3], "fit", "--config", str(path), "--print_config"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr
