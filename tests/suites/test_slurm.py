"""The SLURM launcher on commands that only pretend to be SLURM's; tests/cluster has the real ones."""

import json
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from integrand.errors import IntegrandError, UsageError
from integrand.suites import engines, slurm_queue, slurm_task
from integrand.suites.code import code_digest
from integrand.suites.journal import Journal
from integrand.suites.launcher import Outcome
from integrand.suites.slurm import SlurmLauncher
from integrand.suites.slurm_script import Batch, SlurmOptions, batches
from integrand.suites.states import cell_states

SBATCH = """
import json, os, pathlib, re, sys
folder = pathlib.Path(os.environ["FAKE_SLURM"])
script = pathlib.Path(sys.argv[-1])
text = script.read_text()
if "--partition=nowhere" in text:
    sys.exit("sbatch: error: invalid partition specified: nowhere")
number = sum(1 for _ in folder.glob("*.sbatch")) + 1
(folder / f"{number}.sbatch").write_text(text)
name = re.search(r"job-name=(\\S+)", text)[1]
last = int(re.search(r"array=0-(\\d+)", text)[1])
rows = [f"{number}_{i}|PENDING|Resources||{name}" for i in range(last + 1)]
with (folder / "queue").open("a") as queue:
    queue.write("\\n".join(rows) + "\\n")
print(f"{number};test")
"""
SQUEUE = """
import os, pathlib, sys
folder = pathlib.Path(os.environ["FAKE_SLURM"])
if (folder / "down").exists():
    sys.exit("slurm_load_jobs error: Unable to contact slurm controller")
if (folder / "queue").exists():
    print((folder / "queue").read_text(), end="")
"""
SCANCEL = """
import os, pathlib, sys
(pathlib.Path(os.environ["FAKE_SLURM"]) / "cancelled").write_text(" ".join(sys.argv[1:]))
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands that keep their queue in a file, which the test may change."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    for name, code in {"sbatch": SBATCH, "squeue": SQUEUE, "scancel": SCANCEL}.items():
        path = folder / name
        path.write_text(f"#!{sys.executable}{code}")
        path.chmod(0o755)
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Fake(folder)


class Fake:
    def __init__(self, folder):
        self.folder = folder

    def queue(self, *states):
        """Set the states of all jobs, in their order; None takes a job out."""
        rows = (self.folder / "queue").read_text().splitlines()
        changed = [
            "|".join([row.split("|")[0], state, "None", "n1", row.split("|")[4]])
            for row, state in zip(rows, states, strict=True)
            if state is not None
        ]
        (self.folder / "queue").write_text("".join(f"{row}\n" for row in changed))

    def scripts(self):
        return [p.read_text() for p in sorted(self.folder.glob("*.sbatch"))]


@pytest.fixture
def suite(tmp_path):
    return tmp_path / "suites" / "s"


def launcher(suite, **options):
    settings = {"poll": 0.01, "patience": 0.0} | options
    return SlurmLauncher(suite, settings.pop("options", SlurmOptions()), **settings)


def batch_of(suite):
    (*_, newest) = batches(suite)
    return newest


def at_tick(watcher, *actions):
    """Do one thing at each look of the launcher."""
    waiting = list(actions)

    def tick():
        if waiting:
            waiting.pop(0)()

    watcher.tick = tick
    return watcher


def ends(suite, task, state="finished", code=0, error=""):
    return lambda: batch_of(suite).note_end(Outcome(task, state, 3.0, 1, code, error))


def test_the_script_asks_for_what_was_asked(suite, task, cluster, watcher):
    options = SlurmOptions("gpu", "4:00:00", "gpu:1", "8G", 4, ("--account=abc",))
    tasks = [task("a", "pass"), task("b", "pass")]
    last = ends(suite, tasks[1])
    at_tick(watcher, ends(suite, tasks[0]), lambda: (cluster.queue("COMPLETED", "COMPLETED"), last()))
    outcomes = launcher(suite, options=options, jobs=1).launch(tasks, watcher)
    assert [o.state for o in outcomes] == ["finished", "finished"]
    (text,) = cluster.scripts()
    lines = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert lines[1:] == [
        "--array=0-1%1", "--ntasks=1", "--requeue", "--open-mode=append", "--signal=B:USR1@90",
        f"--output={batch_of(suite).folder}/%a.out", "--partition=gpu", "--time=4:00:00", "--gres=gpu:1",
        "--mem=8G", "--cpus-per-task=4", "--account=abc",
    ]  # fmt: skip
    assert lines[0] == f"--job-name=integrand-s-{batch_of(suite).folder.name}"
    assert (
        text.splitlines()[-1]
        == f"exec {sys.executable} -m integrand.suites.slurm_task {batch_of(suite).folder}"
    )
    assert batch_of(suite).closed


@pytest.mark.parametrize(("option", "says"), [("account", "no option"), ("--array=1", "sets --array itself")])
def test_options_that_cannot_be(suite, cluster, option, says):
    with pytest.raises(UsageError, match=says):
        launcher(suite, options=SlurmOptions(further=(option,)))


def test_without_slurm_it_says_so(suite, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs sbatch, squeue, scancel on the PATH"):
        launcher(suite)


def test_a_refused_job_leaves_nothing_to_wait_for(suite, task, cluster, watcher):
    with pytest.raises(IntegrandError, match="invalid partition specified: nowhere"):
        launcher(suite, options=SlurmOptions(partition="nowhere")).launch([task("a", "pass")], watcher)
    assert engines.held(suite) == {}


def test_a_task_that_vanishes_is_submitted_again_and_vouched_for(suite, task, cluster, watcher):
    (one,) = tasks = [task("a", "pass")]

    def started():
        cluster.queue("RUNNING")
        batch_of(suite).note_state("a", started=1.0, failures=0)

    at_tick(watcher, started, lambda: cluster.queue("OUT_OF_MEMORY"), lambda: None, ends(suite, one))
    (outcome,) = launcher(suite).launch(tasks, watcher)
    assert outcome.state == "finished"
    assert watcher.named("started") == ["a"]
    ((_, _, error),) = [e for e in watcher.events if e[0] == "retried"]
    assert error == "its SLURM task died without a word (out of memory on n1)"
    assert [batch.read()["alone"] for batch in batches(suite)] == [False, True]


def test_tries_of_vanished_tasks_end(suite, task, cluster, watcher):
    at_tick(watcher, lambda: cluster.queue("TIMEOUT"), lambda: cluster.queue("TIMEOUT", "TIMEOUT"))
    (outcome,) = launcher(suite).launch([task("a", "pass")], watcher)
    assert (outcome.state, outcome.attempts) == ("failed", 2)
    assert "timeout on n1" in outcome.error
    assert len(cluster.scripts()) == 2


@pytest.mark.parametrize("state", ["CANCELLED", None])
def test_a_cancelled_task_is_not_started_again(suite, task, cluster, watcher, state):
    """Also where SLURM has forgotten it: a task that never started did not die."""
    at_tick(watcher, lambda: cluster.queue(state))
    (outcome,) = launcher(suite).launch([task("a", "pass")], watcher)
    assert (outcome.state, outcome.error) == ("interrupted", "cancelled")


def test_an_end_of_a_task_that_is_queued_again_is_none(suite, task, cluster, watcher):
    (one,) = tasks = [task("a", "pass")]
    at_tick(watcher, ends(suite, one, "interrupted", 143), lambda: cluster.queue("PENDING"), ends(suite, one))
    (outcome,) = launcher(suite).launch(tasks, watcher)
    assert outcome.state == "finished"


def test_a_controller_that_does_not_answer_ends_nothing(suite, task, cluster, watcher):
    (one,) = tasks = [task("a", "pass")]
    down = cluster.folder / "down"
    at_tick(watcher, down.touch, lambda: None, lambda: None, down.unlink, ends(suite, one))
    (outcome,) = launcher(suite).launch(tasks, watcher)
    assert outcome.state == "finished"
    assert len(cluster.scripts()) == 1


def test_a_second_launch_watches_what_the_first_left(suite, task, cluster, watcher):
    tasks = [task("a", "pass"), task("b", "pass")]
    first = launcher(suite)
    at_tick(watcher, lambda: signal.raise_signal(signal.SIGINT))
    assert first.launch(tasks, watcher) == []
    assert (first.stop_signal, watcher.events[-1]) == (
        signal.SIGINT,
        ("leaving", "SIGINT", "2 jobs go on in SLURM"),
    )
    assert {k: (h.job, h.running, h.reason) for k, h in engines.held(suite).items()} == {
        "a": ("SLURM job 1_0", False, "Resources"),
        "b": ("SLURM job 1_1", False, "Resources"),
    }
    at_tick(watcher, *(ends(suite, t) for t in tasks))
    outcomes = launcher(suite).launch(tasks, watcher)
    assert [o.state for o in outcomes] == ["finished", "finished"]
    assert len(cluster.scripts()) == 1, "nothing is submitted twice"


def test_a_sweep_cancels_its_jobs(suite, task, cluster, watcher):
    (one,) = tasks = [task("a", "pass")]
    at_tick(watcher, lambda: signal.raise_signal(signal.SIGTERM))
    watcher.stopping = lambda reason: (
        cluster.queue("CANCELLED"),
        watcher.events.append(("stopping", reason)),
    )
    engine = launcher(suite, leave=False, patience=5.0)
    (outcome,) = engine.launch(tasks, watcher)
    assert (outcome.state, outcome.task) == ("interrupted", one)
    assert watcher.events[0] == ("stopping", "SIGTERM")


def test_cells_in_the_queue_are_shown_and_not_started_elsewhere(suite, cells, task, cluster):
    keys = [c.key for c in cells]
    batch = Batch(suite / "slurm" / "b1")
    batch.write([task(k, "pass") for k in keys[:2]], SlurmOptions(), 1, None, "code", alone=False)
    slurm_queue.submit(batch.folder / "array.sbatch")
    cluster.queue("RUNNING", "PENDING")
    states = cell_states(cells, {}, Journal(suite), held=engines.held(suite))
    assert [s.state for s in states] == ["running", "queued", "waiting", "waiting"]
    assert engines.cancel(suite, keys) == ""
    assert (cluster.folder / "cancelled").read_text() == "1_0 1_1"


def test_ends_that_nobody_saw_are_known(suite, cells, task):
    journal = Journal(suite)
    suite.mkdir(parents=True)
    journal.append(cells[0], Outcome(task(cells[0].key, "pass"), "finished", 1.0, 1, 0))
    for cell in cells[:2]:
        journal.note_end(Outcome(task(cell.key, "pass"), "failed", 1.0, 2, 1, "ValueError: broken"), "b1")
    states = cell_states(cells, {}, journal)
    assert [(s.state, s.error) for s in states[:2]] == [("failed", "ValueError: broken")] * 2
    journal.forget_end(cells[1].key)
    assert cell_states(cells, {}, journal)[1].state == "waiting"


# ---------------------------------------------------------------- what a task runs


@pytest.fixture
def run_task(suite, task, monkeypatch):
    """Run a batch of one task in this process, as the job array would."""
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}

    def run(code, digest="", restarts=0, retries=1):
        batch = Batch(suite / "slurm" / "b1")
        if not batch.folder.exists():
            batch.write(
                [task("k", textwrap.dedent(code))],
                SlurmOptions(),
                retries,
                None,
                digest or code_digest(),
                False,
            )
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
        returned = slurm_task.main([str(batch.folder)])
        return returned, batch

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_task_tries_again_and_counts_over_its_starts(run_task, task):
    code, batch = run_task("import os; print(os.environ.get('INTEGRAND_ALONE')); raise ValueError('no')")
    assert code == 1
    end = batch.end("k")
    assert (end["state"], end["attempts"], end["error"]) == ("failed", 2, "exit code 1: ValueError: no")
    log = Path(batch.task(0).log).read_text()
    assert [line for line in log.splitlines() if line in ("None", "1") or "attempt" in line] == [
        "None", "=== attempt 2 ===", "1",
    ]  # fmt: skip
    assert batch.state("k")["failures"] == 2
    run_task("", restarts=1)
    assert batch.end("k")["attempts"] == 3, "a start of the job does not forget what failed"


def test_a_cell_sees_no_job_in_which_lightning_would_wait(run_task):
    code, batch = run_task("import os; print(os.environ.get('SLURM_NTASKS'), os.environ['INTEGRAND_CELL'])")
    assert code == 0
    assert Path(batch.task(0).log).read_text() == "None 1\n"


def test_other_code_than_that_of_the_keys_is_not_run(run_task):
    code, batch = run_task("print('ran')", digest="older")
    assert code == 1
    assert "is not that with which the suite was submitted" in batch.end("k")["error"]
    assert not Path(batch.task(0).log).exists()


@pytest.mark.parametrize("problem", ["", "Job violates policy"])
def test_a_cell_whose_time_is_up_is_queued_again(run_task, monkeypatch, problem):
    asked = []
    monkeypatch.setattr(slurm_task.slurm, "requeue", lambda: asked.append(1) or problem)
    stop = f"import os, signal, time; os.kill({os.getpid()}, signal.SIGUSR1); time.sleep(60)"
    code, batch = run_task(stop)
    assert asked == [1]
    assert code == (1 if problem else 0)
    end = batch.end("k")
    assert end == {} if not problem else (end["state"] == "interrupted" and problem in end["error"])


def test_a_hanging_cell_is_killed_and_not_tried_again(suite, task, tmp_path):
    from dataclasses import replace

    from integrand.suites.attempts import Attempts

    hanging = replace(task("h", "import time; time.sleep(60)"), limit=0.3)
    log = tmp_path / "h.log"
    outcome = Attempts(hanging, dict(os.environ), 3, lambda: log.open("ab"), grace=0.2).run()
    assert (outcome.state, outcome.attempts) == ("failed", 1)
    assert outcome.error.startswith("hung: ended by SIGTERM")


def test_stop_cancels_jobs_and_says_where_nothing_runs(
    suite_file, task, cluster, tmp_path, monkeypatch, capsys
):
    from integrand.cli import suite as command

    monkeypatch.chdir(tmp_path)
    path = str(suite_file())
    assert command.run(["stop", path]) == 0
    assert "nothing of s runs" in capsys.readouterr().out
    batch = Batch(Journal.of("s").folder / "slurm" / "b1")
    batch.write([task("k", "pass")], SlurmOptions(), 1, None, "code", alone=False)
    slurm_queue.submit(batch.folder / "array.sbatch")
    assert command.run(["stop", "s"]) == 0, "by name, where the file is not at hand"
    assert "cancelled 1 jobs of s in SLURM" in capsys.readouterr().out
    assert (cluster.folder / "cancelled").read_text() == "1_0"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--partition", "gpu"], "--partition means nothing to --launcher local"),
        (["--launcher", "slurm", "--gpus", "1"], "--gpus means nothing to --launcher slurm"),
        (["--cpus", "2"], "--cpus means nothing to --launcher local"),
        (["--launcher", "ray", "--cpus", "0"], "--cpus 0"),
        (["--launcher", "slum"], "did you mean slurm"),
    ],
)
def test_options_of_another_engine_are_refused(words, says):
    from integrand.cli import suite as command

    with pytest.raises(UsageError, match=says):
        command.run(["run", "quickstart", *words])


def test_batches_of_a_broken_file_have_no_tasks(suite):
    folder = suite / "slurm" / "b1"
    folder.mkdir(parents=True)
    (folder / "tasks.json").write_text("{")
    assert [batch.keys() for batch in batches(suite)] == [[]]
    assert json.dumps(engines.held(suite)) == "{}"
