"""A whole suite on stub commands: what is skipped, run again, noted down and printed."""

import io
import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rich.console import Console

from integrand.errors import TrackingError, UsageError
from integrand.suites.cells import expand
from integrand.suites.estimate import expected_seconds, in_words, remaining_seconds
from integrand.suites.journal import Journal
from integrand.suites.local import LocalLauncher
from integrand.suites.runner import run_suite
from integrand.suites.spec import BudgetSpec, read_suite
from integrand.suites.states import cell_states, estimated_seconds, expected_times
from integrand.suites.store import StoredCell


class StubStore:
    """A store in a folder: a run is finished if a file with its key is there."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def __call__(self):
        return {p.name: StoredCell("finished", f"id-{p.name}", 1.0, "") for p in self.folder.iterdir()}

    def command(self, cell, code="pass"):
        record = f"import pathlib; pathlib.Path({str(self.folder / cell.key)!r}).touch()"
        return (sys.executable, "-c", f"{code}\n{record}")


@pytest.fixture
def store(tmp_path):
    return StubStore(tmp_path / "store")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal")


def run(cells, store, journal, codes=None, jobs=2):
    """Run the cells; `codes` maps labels' ends to what their process does before it records itself."""
    printed = io.StringIO()

    def command(cell):
        code = next((c for end, c in (codes or {}).items() if cell.label.endswith(end)), "pass")
        return store.command(cell, code)

    launcher = LocalLauncher(jobs, retries=0, device_names=(), num_cores=2)
    console = Console(file=printed, width=200)
    result = run_suite("s", cells, launcher, jobs, store, journal, console, command)
    return result, printed.getvalue()


def test_a_second_run_has_nothing_to_do(cells, store, journal):
    result, printed = run(cells, store, journal)
    assert result.complete
    assert not result.interrupted
    assert "4 cells, 0 finished, 4 to run" in printed
    assert printed.count("finished ") >= 4
    again, printed = run(cells, store, journal, {"": "raise SystemExit('must not run')"})
    assert again.complete
    assert again.skipped == 4
    assert "4 cells, 4 finished, 0 to run" in printed
    assert len(journal.entries()) == 4


def test_a_failed_cell_is_shown_and_run_again_next_time(cells, store, journal):
    result, printed = run(cells, store, journal, {"b seed 1": "raise RuntimeError('no luck')"})
    assert not result.complete
    assert not result.interrupted
    (failed,) = [s for s in result.states if s.state == "failed"]
    assert failed.cell.label.endswith("b seed 1")
    assert failed.error == "exit code 1: RuntimeError: no luck"
    assert "RuntimeError: no luck" in printed
    assert [s.state for s in cell_states(cells, store(), journal)].count("failed") == 1
    again, printed = run(cells, store, journal)
    assert again.complete
    assert again.skipped == 3
    assert "1 to run" in printed


def test_a_process_that_ends_well_but_records_nothing_is_not_finished(cells, store, journal):
    result, _ = run(cells[:1], store, journal, {"": "raise SystemExit(0)"})
    assert not result.complete
    assert "the store has no finished run" in result.states[0].error


def test_one_process_at_a_time(cells, store, journal):
    with journal.lock(), pytest.raises(UsageError, match="another process"):
        run(cells, store, journal)


@pytest.fixture
def chain(suite_file):
    """A distilled model, taught by a reflow, taught by a plain flow, and one beside them."""
    models = [
        {"model": "flow_distillation", "name": "distilled", "teacher": "reflow"},
        {"model": "rectified_flow", "name": "reflow", "teacher": "cfm"},
        "cfm",
        "ot_cfm",
    ]
    return expand(
        read_suite(str(suite_file(recipe="points", models=models, experiments=["a.yaml"], seeds=[0])))
    )


def run_chain(chain, store, journal, codes=None, checkpoint=lambda run_id: Path(f"/runs/{run_id}/best.ckpt")):
    """Run it on two slots; each process notes its arguments in a file beside the store."""
    printed = io.StringIO()

    def command(cell):
        noted = f"import sys, pathlib; pathlib.Path({str(store.folder.parent / cell.key)!r}).write_text(repr(sys.argv[1:]))"
        code = next((c for end, c in (codes or {}).items() if cell.experiment.endswith(end)), "pass")
        return store.command(cell, f"{noted}\n{code}")

    launcher = LocalLauncher(2, retries=0, device_names=(), num_cores=2)
    console = Console(file=printed, width=300)
    result = run_suite("s", chain, launcher, 2, store, journal, console, command, checkpoint=checkpoint)
    states = {s.cell.experiment.rpartition("/")[2]: s for s in result.states}
    return states, printed.getvalue()


def test_teachers_come_first_and_hand_on_their_checkpoints(chain, store, journal):
    states, _ = run_chain(chain, store, journal)
    assert {s.state for s in states.values()} == {"finished"}
    ended = [e["experiment"].rpartition("/")[2] for e in journal.entries()]
    assert ended[-2:] == ["reflow", "distilled"]
    for name, teacher in (("reflow", "cfm"), ("distilled", "reflow"), ("cfm", None), ("ot_cfm", None)):
        words = eval((store.folder.parent / states[name].cell.key).read_text())
        path = f"/runs/id-{states[teacher].cell.key}/best.ckpt" if teacher else ""
        assert words == ([f"--model.teacher={path}"] if teacher else [])


def test_what_a_failed_teacher_teaches_fails_in_one_line(chain, store, journal):
    states, printed = run_chain(chain, store, journal, {"/cfm": "raise RuntimeError('no luck')"})
    assert {n: s.state for n, s in states.items()} == {
        "a": "finished", "ot_cfm": "finished", "cfm": "failed", "reflow": "failed", "distilled": "failed"
    }  # fmt: skip
    assert states["reflow"].error == "its teacher has not finished: points/cfm seed 0"
    assert "points/distilled seed 0: its teacher has not finished: points/reflow seed 0" in printed
    # and is run once its teacher is there
    states, _ = run_chain(chain, store, journal)
    assert {s.state for s in states.values()} == {"finished"}


def test_a_teacher_at_work_elsewhere_leaves_its_pupils_waiting(chain, store, journal):
    class Busy(StubStore):
        def __init__(self):
            self.folder = store.folder

        def __call__(self):
            return {chain[3].key: StoredCell("running", "x", None, "")} | super().__call__()

    states, printed = run_chain(chain, Busy(), journal)
    assert (states["cfm"].state, states["reflow"].state, states["ot_cfm"].state) == (
        "running", "waiting", "finished"
    )  # fmt: skip
    assert "points/reflow seed 0: its teacher has not finished: points/cfm seed 0" in printed


def test_a_teacher_without_a_checkpoint_is_named(chain, store, journal):
    def gone(run_id):
        raise TrackingError(f"run {run_id} has no best checkpoint", "train it again")

    states, _ = run_chain(chain, store, journal, checkpoint=gone)
    assert states["reflow"].error.startswith("no checkpoint of its teacher, points/cfm seed 0: run id-")


def test_plan_and_journal_are_readable(cells, store, journal):
    run(cells, store, journal)
    plan = json.loads((journal.folder / "plan.json").read_text())
    assert [c["key"] for c in plan["cells"]] == [c.key for c in cells]
    assert plan["cells"][0]["seed"] == 0
    with (journal.folder / "journal.jsonl").open("a") as file:
        file.write('{"cut off by a cra')
    assert {e["state"] for e in journal.entries()} == {"finished"}
    assert set(journal.durations()) == {c.experiment for c in cells}


SCRIPT = """
import io, sys
from pathlib import Path
from rich.console import Console
from integrand.suites.cells import expand
from integrand.suites.journal import Journal
from integrand.suites.local import LocalLauncher
from integrand.suites.runner import run_suite
from integrand.suites.spec import read_suite
from integrand.suites.store import StoredCell

suite, root = sys.argv[1], Path(sys.argv[2])
cells = expand(read_suite(suite))
store = root / "store"
def lookup():
    return {p.name: StoredCell("finished", p.name, 1.0, "") for p in store.iterdir()}
def command(cell):
    first = cell is cells[0]
    code = f"import pathlib; pathlib.Path({str(store / cell.key)!r}).touch()"
    return (sys.executable, "-c", code if first else "import time; print('up', flush=True); time.sleep(60)")
launcher = LocalLauncher(1, device_names=(), num_cores=1)
result = run_suite("s", cells, launcher, 1, lookup, Journal(root / "journal"), Console(width=200), command)
print("interrupted", result.interrupted, [s.state for s in result.states], flush=True)
"""


def test_an_interrupt_leaves_everything_to_go_on_from(suite_file, store, journal, tmp_path):
    path = suite_file()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not any("up" in p.read_text() for p in journal.folder.glob("*.log")):
        assert time.monotonic() < deadline, "the second cell did not start"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert out.splitlines()[-1] == "interrupted True ['finished', 'stopped', 'waiting', 'waiting']"
    result, printed = run(expand(read_suite(str(path))), store, journal)
    assert result.complete
    assert "4 cells, 1 finished, 3 to run" in printed


def test_finished_runs_of_other_code_are_mentioned_and_run_again(cells, store, journal):
    (store.folder / "key-of-older-code").touch()
    result, printed = run(cells, store, journal)
    assert result.complete
    assert "4 to run" in printed
    assert "1 more finished runs in the store are of other code" in printed


def test_running_cells_are_left_alone(cells, journal, store):
    class Busy(StubStore):
        def __init__(self):
            self.folder = store.folder

        def __call__(self):
            return {cells[0].key: StoredCell("running", "x", None, "")} | super().__call__()

    result, printed = run(cells, Busy(), journal)
    assert [s.state for s in result.states] == ["running"] + ["finished"] * 3
    assert "1 running elsewhere" in printed


def test_estimates():
    known = {"slow": [10.0, 30.0, 20.0], "fast": [2.0]}
    assert expected_seconds("slow", known) == 20.0
    assert expected_seconds("new", known) == 15.0  # the median of all four
    assert expected_seconds("new", {}) is None
    # 20 s waiting + 5 s left of the running one + nothing left of the overdue one, on two slots
    assert remaining_seconds(["slow"], [("slow", 15.0), ("fast", 9.0)], known, 2) == 20.0
    assert remaining_seconds(["slow"] * 4, [], known, 2) == 40.0
    assert remaining_seconds([], [], {}, 2) == 0.0
    assert remaining_seconds(["new"], [], {}, 2) is None
    assert [in_words(s) for s in (None, 0.2, 45, 100, 7200)] == [
        "not known yet",
        "about 1 s",
        "about 45 s",
        "about 2 min",
        "about 2.0 h",
    ]


def test_cost_of_a_plan_from_the_store_where_there_is_no_journal(cells, journal):
    stored = {"k": StoredCell("finished", "x", 12.0, ""), "f": StoredCell("failed", "y", 1.0, "")}
    assert estimated_seconds(cells, journal, stored) == 48.0
    assert estimated_seconds(cells, journal, {}) is None


def test_each_experiment_is_expected_to_take_what_its_own_runs_took(cells, journal):
    names = sorted({c.experiment for c in cells})
    stored = {n: StoredCell("finished", n, 10.0 * (i + 1), "", cell=n) for i, n in enumerate(names)}
    assert expected_times(cells, journal, stored) == {names[0]: 10.0, names[1]: 20.0}


def test_a_run_that_was_gone_on_with_does_not_say_how_long_one_takes(cells, store, journal):
    class Interrupted(StubStore):
        def __init__(self):
            self.folder = store.folder

        def __call__(self):
            return {cells[0].key: StoredCell("interrupted", "x", 3.0, "killed")} | super().__call__()

    _, printed = run(cells, Interrupted(), journal)
    assert "4 to run (1 of them from their last checkpoint)" in printed
    assert [e["whole"] for e in sorted(journal.entries(), key=lambda e: e["key"] != cells[0].key)] == [
        False, True, True, True,
    ]  # fmt: skip
    assert len(journal.durations()[cells[0].experiment]) == 1


def over(by="time", limit=60.0):
    return StoredCell("over budget", "x", 60.0, "60.1 s of 60 s used in epoch 3 of 9, step 30", (by, limit))


@pytest.mark.parametrize(
    ("budget", "state"),
    [
        (BudgetSpec(seconds=60.0), "over budget"),
        (BudgetSpec(seconds=30.0), "over budget"),
        (BudgetSpec(seconds=60.0, nfe=1e9), "over budget"),
        (BudgetSpec(seconds=61.0), "stopped"),
        (BudgetSpec(nfe=1e9), "stopped"),
        (BudgetSpec(), "stopped"),
    ],
)
def test_a_used_up_budget_is_the_end_until_it_is_raised(cells, journal, budget, state):
    (found,) = cell_states(cells[:1], {cells[0].key: over()}, journal, budget)
    assert (found.state, found.run_id) == (state, "x")
    assert "60.1 s of 60 s" in found.error


def test_a_suite_whose_runs_used_up_their_budget_is_complete(cells, store, journal):
    class Over(StubStore):
        def __init__(self):
            self.folder = store.folder

        def __call__(self):
            return {cells[0].key: over("nfe", 100.0)} | super().__call__()

    console = Console(file=io.StringIO(), width=200)
    launcher = LocalLauncher(2, retries=0, device_names=(), num_cores=2)
    result = run_suite(
        "s", cells, launcher, 2, Over(), journal, console, store.command, budget=BudgetSpec(nfe=100.0)
    )
    assert result.complete
    assert result.skipped == 1
    assert [s.state for s in result.states] == ["over budget"] + ["finished"] * 3
    assert len(journal.entries()) == 3


def test_parents_learn_of_every_end_and_get_the_states(cells, store, journal):
    class Family:
        updated, closed = [], None

        def of(self, cell):
            return f"parent of {cell.experiment}"

        def update(self, cell):
            self.updated.append(cell.key)

        def close(self, states):
            Family.closed = [s.state for s in states]

    console = Console(file=io.StringIO(), width=200)
    launcher = LocalLauncher(2, retries=0, device_names=(), num_cores=2)
    run_suite("s", cells, launcher, 2, store, journal, console, store.command, parents=Family)
    assert sorted(Family.updated) == sorted(c.key for c in cells)
    assert Family.closed == ["finished"] * 4
