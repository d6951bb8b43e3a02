"""A fit whose time is up saves itself; a job that is queued again goes on in the same run. No SLURM is needed."""

import os
import signal
import socket
import subprocess

import pytest
import torch

from integrand.errors import UsageError
from integrand.tracking import exit_code
from integrand.tracking.callbacks import Preemption
from integrand.tracking.callbacks.lifecycle import Interrupted
from integrand.tracking.processes import process, slurm

STEPS = 6
"""Batches of an epoch of the tiny data."""


@pytest.fixture(autouse=True)
def _outside(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    # `prepare` sets it for good
    monkeypatch.setenv(process.ALONE, "")
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def job(monkeypatch):
    def enter(restarts=0, **more):
        values = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "j", "SLURM_RESTART_COUNT": str(restarts), **more}
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return enter


def model_told_at(tiny, step):
    """The tiny model, whose process is told at a step that its time is up; -1 for never."""

    class Told(tiny.TinyModule):
        def training_step(self, batch, batch_idx):
            if self.trainer.global_step == step:
                signal.raise_signal(signal.SIGUSR1)
            return super().training_step(batch, batch_idx)

    tiny.seed_everything(0, verbose=False)
    return Told()


def steps_of(client, run):
    return [p.step for p in client.get_metric_history(run.info.run_id, "train/loss_step")]


def values_of(client, run, name):
    return [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)]


def saved_step(client, run):
    path = client.download_artifacts(run.info.run_id, "checkpoints/last.ckpt")
    return torch.load(path, weights_only=True)["global_step"]


def test_after_a_whole_epoch_it_goes_on_exactly(tiny, client, only_run):
    with pytest.raises(Interrupted) as stop:
        tiny.fit(epochs=3, every=1, model=model_told_at(tiny, STEPS + 2), experiment="told")
    assert exit_code(stop.value) == 138
    run = only_run("told")
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", "ended by SIGUSR1")
    assert steps_of(client, run) == list(range(STEPS + 3)), "the batch in hand was finished"
    assert saved_step(client, run) == STEPS, "of the last whole epoch"
    tiny.fit(epochs=3, every=1, run_id=run.info.run_id, ckpt_path="last")
    tiny.fit(epochs=3, every=1, model=model_told_at(tiny, -1), experiment="undisturbed")
    run, expected = only_run("told"), only_run("undisturbed")
    assert run.info.status == "FINISHED"
    for name in ("train/loss_step", "val/loss", "solver/nfe_forward_total"):
        assert values_of(client, run, name) == values_of(client, expected, name), name


def test_without_a_whole_epoch_it_saves_in_mid_epoch(tiny, client, only_run):
    with pytest.raises(Interrupted):
        tiny.fit(epochs=2, every=1, model=model_told_at(tiny, 2), experiment="told")
    run = only_run("told")
    assert saved_step(client, run) == 3
    tiny.fit(epochs=2, every=1, run_id=run.info.run_id, ckpt_path="last")
    assert steps_of(client, only_run("told")) == list(range(2 * STEPS)), "none twice, none left out"


def test_much_computing_since_the_last_epoch_is_worth_a_checkpoint(tiny, client, only_run, monkeypatch):
    monkeypatch.setattr(Preemption.__init__, "__defaults__", (0.0,))
    with pytest.raises(Interrupted):
        tiny.fit(epochs=2, every=1, model=model_told_at(tiny, STEPS + 2), experiment="told")
    assert saved_step(client, only_run("told")) == STEPS + 3


def test_told_in_the_last_batch_of_an_epoch_it_waits_for_its_end(tiny, client, only_run):
    with pytest.raises(Interrupted):
        tiny.fit(epochs=2, every=1, model=model_told_at(tiny, STEPS - 1), experiment="told")
    run = only_run("told")
    assert saved_step(client, run) == STEPS
    assert len(values_of(client, run, "val/loss")) == 1


def test_a_job_that_is_queued_again_goes_on_in_its_run(tiny, client, only_run, job, monkeypatch):
    job()
    with pytest.raises(Interrupted):
        tiny.fit(epochs=2, every=1, model=model_told_at(tiny, 8))
    job(restarts=1)
    tiny.fit(epochs=2, every=1, ckpt_path="last")
    run = only_run()
    assert (run.info.status, run.data.tags["resumed"]) == ("FINISHED", "1")
    assert steps_of(client, run) == list(range(2 * STEPS))
    job(restarts=1, SLURM_JOB_ID="8")
    tiny.fit(epochs=1, every=1, ckpt_path="last")
    assert len(client.search_runs([run.info.experiment_id])) == 2, "another job, another run"


def test_keys_of_jobs(job, monkeypatch):
    assert slurm.job_key() == ""
    job()
    monkeypatch.setattr("sys.argv", ["integrand", "fit", "--a"])
    first = slurm.job_key()
    job(restarts=2, SLURM_PROCID="3", SLURM_NODEID="1")
    assert slurm.job_key() == first, "the same over all starts, on all processes"
    monkeypatch.setattr("sys.argv", ["integrand", "fit", "--b"])
    assert slurm.job_key() != first, "another command of the same job"
    job(SLURM_JOB_NAME="interactive")
    assert slurm.job_key() == ""
    assert not slurm.restarted()


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n[1-2]", "n1"), ("gpu[07,9-12],m3", "gpu07"), ("a,b", "a"), ("n-1-[3]", "n-1-3")],
)
def test_the_first_of_slurms_nodes(nodes, first):
    from lightning.fabric.plugins.environments import SLURMEnvironment

    assert slurm.first_node(nodes) == first == SLURMEnvironment.resolve_root_node_address(nodes)


def test_what_would_wait_for_ever_is_refused(job, monkeypatch):
    slurm.prepare()
    job(SLURM_NTASKS="2", SLURM_NODELIST="n[1-2]")
    with pytest.raises(UsageError, match="start it with srun"):
        slurm.prepare()
    job(SLURM_NTASKS="2", SLURM_STEP_ID="0", SLURM_NODELIST="n[1-2]", MASTER_ADDR="127.0.0.1")
    slurm.prepare()
    monkeypatch.delenv("MASTER_ADDR")

    def unknown(host, port):
        raise socket.gaierror(-2, f"Name or service not known: {host}")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UsageError, match=r"first node, n1, has no address.*export MASTER_ADDR"):
        slurm.prepare()


def test_an_earlier_start_of_the_job_is_known_to_be_over(job):
    job(restarts=1)
    slurm.prepare()
    assert os.environ[process.ALONE] == "1"


def test_only_the_first_process_queues_the_job_again(job, monkeypatch):
    called = []

    def run(command, **options):
        called.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert slurm.requeue() == ""
    job(SLURM_PROCID="1")
    assert slurm.requeue() == ""
    job(SLURM_PROCID="0")
    monkeypatch.setenv(process.CELL, "1")
    assert slurm.requeue() == "", "that of a suite does it itself"
    monkeypatch.delenv(process.CELL)
    assert called == []
    assert slurm.requeue() == ""
    job(SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID="2")
    assert slurm.requeue() == ""
    assert called == [["scontrol", "requeue", "7"], ["scontrol", "requeue", "5_2"]]
