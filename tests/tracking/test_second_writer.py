"""Two processes never write one cell of a suite; what nobody writes any more can be gone on with."""

import subprocess
import sys
import time

import pytest

from integrand.errors import AlreadyRunning
from integrand.tracking.processes import process
from integrand.tracking.request import RunRequest
from integrand.tracking.session import Session
from integrand.tracking.store import names
from integrand.tracking.store.opening import open_store
from integrand.tracking.store.unfinished import refuse_second_writer, unfinished_run

ELSEWHERE = {names.PROCESS_HOST: "another", names.PROCESS_ID: "1"}


@pytest.fixture
def uri(tmp_path, monkeypatch):
    monkeypatch.setenv("INTEGRAND_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv(process.ALONE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def client(uri):
    found = open_store(uri)
    found.create_experiment("s")
    return found


@pytest.fixture
def begun(client):
    """Make a RUNNING run of the cell `k` that a process of another host may write."""

    def make(**tags):
        experiment = client.get_experiment_by_name("s").experiment_id
        run = client.create_run(experiment, tags={names.RUN_KEY: "k"} | process.identity() | ELSEWHERE | tags)
        return run.info.run_id

    return make


def request(uri, tmp_path):
    return RunRequest(
        "s", "run", None, uri, str(tmp_path / "artifacts"), {names.RUN_KEY: "k"}, 10.0, resume=True
    )


def test_a_cell_that_runs_on_another_host_is_not_begun(uri, begun, tmp_path, client):
    begun()
    with pytest.raises(AlreadyRunning, match="another process works on this cell"):
        Session(request(uri, tmp_path))
    assert len(client.search_runs([client.get_experiment_by_name("s").experiment_id])) == 1


def test_a_cell_whose_host_fell_silent_is_gone_on_with(uri, begun, tmp_path):
    run_id = begun(**{names.PROCESS_BEAT: str(round(time.time() - process.SILENT_SECONDS - 1))})
    session = Session(request(uri, tmp_path))
    session.close()
    assert (session.run_id, session.resumed) == (run_id, True)
    assert session.tags[names.PROCESS_HOST] == process.host()


def test_an_engine_that_vouches_for_it_need_not_wait_for_silence(uri, begun, tmp_path, monkeypatch):
    """A requeued task of SLURM, a retried one of Ray: whoever worked on it is dead."""
    run_id = begun()
    monkeypatch.setenv(process.ALONE, "1")
    session = Session(request(uri, tmp_path))
    session.close()
    assert session.run_id == run_id


def test_of_two_that_begin_together_the_older_stays(client, begun):
    older, newer = begun(), begun()
    refuse_second_writer(client, "s", "k", client.get_run(older))
    with pytest.raises(AlreadyRunning):
        refuse_second_writer(client, "s", "k", client.get_run(newer))
    assert client.get_run(newer).info.lifecycle_stage == "deleted"
    assert client.get_run(older).info.lifecycle_stage == "active"


@pytest.mark.parametrize("alone", ["", "1"])
def test_a_cell_that_another_process_has_finished_is_not_begun_again(
    uri, begun, tmp_path, client, monkeypatch, alone
):
    """A suite that was killed and started again looks before the cell that went on by itself has ended."""
    monkeypatch.setenv(process.ALONE, alone)
    client.set_terminated(begun(**{names.SUITE: "s"}), "FINISHED")
    with pytest.raises(AlreadyRunning, match="another process has just finished this cell"):
        Session(request(uri, tmp_path))
    assert len(client.search_runs([client.get_experiment_by_name("s").experiment_id])) == 1


@pytest.mark.parametrize(
    ("tags", "resumed"), [({}, False), ({names.SUITE: "s", names.STOPPED_BY: "time"}, True)]
)
def test_a_finished_run_is_in_nobodys_way(uri, begun, tmp_path, client, tags, resumed):
    """The second of two equal commands in one job; a cell whose budget has grown."""
    client.set_terminated(begun(**tags), "FINISHED")
    session = Session(request(uri, tmp_path))
    session.close()
    assert session.resumed is resumed


def test_other_processes_of_the_same_job_find_the_run_of_the_first(client, begun, monkeypatch):
    for name, value in {"CLUSTER_NAME": "c", "JOB_ID": "7", "STEP_ID": "0", "RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert process.job() == "slurm/c/7/0/1"
    run_id = begun(**{names.PROCESS_JOB: process.job()})
    assert unfinished_run(client, "s", "k").info.run_id == run_id
    # the next start of the same job is another one
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert unfinished_run(client, "s", "k") is None


def test_a_sender_gives_signs_of_life(uri, tmp_path, monkeypatch):
    from integrand.tracking.spool import sender

    monkeypatch.setattr(sender, "BEAT_SECONDS", 0.0)
    wanted = request(uri, tmp_path)
    session = Session(wanted)
    session.client.set_tag(session.run_id, names.PROCESS_BEAT, "1")
    deadline = time.monotonic() + 120
    while session.client.get_run(session.run_id).data.tags[names.PROCESS_BEAT] == "1":
        session.sender.wake()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    session.close()


def test_the_command_says_so_and_ends_with_code_75(begun, uri, tmp_path):
    begun()
    logger = "--trainer.logger"
    command = [
        sys.executable,
        "-m",
        "integrand",
        "fit",
        f"{logger}.experiment",
        "s",
        f"{logger}.run_key",
        "k",
    ]
    command += [f"{logger}.resume", "true", "--ckpt_path", "last", f"{logger}.tracking_uri", uri]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert "another process works on this cell" in done.stderr.splitlines()[-1]
