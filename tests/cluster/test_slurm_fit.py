"""`integrand fit` and a suite of it on a real SLURM: one run whatever happens to the job."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import yaml

pytestmark = pytest.mark.cluster

TINY = {
    "data.train_limit": 512,  # 8 steps of 64 an epoch
    "model.channels": 4,
    "trainer.log_every_n_steps": 1,
}


class Place:
    """A folder on the cluster's shared disk, with a tracking store."""

    def __init__(self, folder, slurm):
        self.folder = folder
        self.slurm = slurm
        self.environment = slurm.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}

    def submit(self, text, name="out", **options):
        words = "\n".join(f"#SBATCH --{k.replace('_', '-')}={v}" for k, v in options.items())
        script = self.folder / f"{name}.sbatch"
        script.write_text(f"#!/bin/bash\n{words}\n{textwrap.dedent(text)}")
        done = subprocess.run(
            ["sbatch", "--parsable", "--requeue", "--open-mode=append", f"--output={name}", str(script)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def integrand(self, *words):
        return subprocess.Popen(
            [sys.executable, "-m", "integrand", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def out(self, name="out"):
        out = self.folder / name
        return out.read_text() if out.exists() else ""

    def state(self, job):
        return self.slurm.ask("scontrol", "show", "job", job).partition("JobState=")[2].partition(" ")[0]

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(self.environment["MLFLOW_TRACKING_URI"])

    def runs(self, experiment="integrand"):
        found = self.client.get_experiment_by_name(experiment)
        return [r for r in self.client.search_runs([found.experiment_id]) if "role" not in r.data.tags]

    def steps(self, run, name="train/loss_step"):
        return [p.step for p in self.client.get_metric_history(run.info.run_id, name)]


@pytest.fixture
def place(slurm, tmp_path):
    return Place(tmp_path, slurm)


def fit(epochs, **changes):
    options = TINY | {"trainer.max_epochs": epochs} | changes
    words = " ".join(f"--{name}={value}" for name, value in options.items())
    return f"{sys.executable} -m integrand fit --recipe digits --model neural_ode {words}"


def test_two_nodes_are_one_run_and_go_on_in_it_when_their_time_is_up(place, slurm, wait_until):
    """docs/examples/slurm_fit.sbatch in small: two nodes, one task each, a pretended GPU for each task."""
    example = Path(__file__).resolve().parents[2] / "docs/examples/slurm_fit.sbatch"
    lines = [line for line in example.read_text().splitlines() if line.startswith(("srun", "export", "set"))]
    assert any(line.startswith("srun --kill-on-bad-exit=1 integrand fit") for line in lines)
    ddp = {
        "trainer.accelerator": "cpu",
        "trainer.strategy": "ddp",
        "trainer.devices": 1,
        "trainer.num_nodes": 2,
    }
    job = place.submit(
        f"""
        export MASTER_ADDR=127.0.0.1
        srun bash -c 'echo task $SLURM_PROCID on $SLURMD_NODENAME sees $CUDA_VISIBLE_DEVICES'
        srun --kill-on-bad-exit=1 {fit(400, **ddp)}
        """,
        nodes=2, ntasks_per_node=1, gpus_per_task=1, time=10, signal="USR1@90",
    )  # fmt: skip
    wait_until(lambda: "epoch 2/" in place.out(), place.out)
    seen = sorted(line for line in place.out().splitlines() if line.startswith("task"))
    assert [line.split()[1:4:2] for line in seen] == [["0", "n1"], ["1", "n2"]]
    assert all(line.split()[-1] == "0" for line in seen), "each its own, of two"
    # as SLURM does by --signal=USR1@90: to the tasks, not to the shell
    slurm.ask("scancel", "--signal=USR1", job, check=True)
    wait_until(lambda: slurm.now(job), place.out)
    before = place.runs()
    assert [(r.info.status, r.data.tags["error"]) for r in before] == [("KILLED", "ended by SIGUSR1")]
    reached = max(place.steps(before[0]))
    # the job's script is fixed, so its second start is ended as the first was
    wait_until(lambda: any(max(place.steps(r)) > reached + 3 for r in place.runs()), place.out)
    slurm.ask("scancel", job, check=True)
    wait_until(lambda: place.state(job) == "CANCELLED", place.out)
    wait_until(lambda: place.runs()[0].info.status == "KILLED", place.out, 30)
    (run,) = place.runs()
    assert run.data.tags["resumed"] == "1"
    assert run.data.params["trainer.num_nodes"] == "2"
    steps = place.steps(run)
    assert steps == list(range(len(steps))), "no step twice, none left out"
    assert not list(place.folder.glob("hpc_ckpt*")), "Lightning's own file in the working directory"


def test_a_job_that_would_wait_for_ever_is_refused(place, slurm, wait_until):
    ddp = {
        "trainer.accelerator": "cpu",
        "trainer.strategy": "ddp",
        "trainer.devices": 1,
        "trainer.num_nodes": 2,
    }
    address = "export MASTER_ADDR=127.0.0.1"
    cases = {
        "unknown": (f"srun {fit(1, **ddp)}", ("first node, n1, has no address", "export MASTER_ADDR")),
        "alone": (f"{address}\n{fit(1, **ddp)}", ("start it with srun",)),
        "other": (f"{address}\nsrun {fit(1, **ddp | {'trainer.num_nodes': 3})}", ("Set `num_nodes=2`",)),
    }
    jobs = {
        name: place.submit(script, name, nodes=2, ntasks=2, ntasks_per_node=1, time=5)
        for name, (script, _) in cases.items()
    }
    for name, (_, says) in cases.items():
        wait_until(
            lambda name=name: place.state(jobs[name]) == "FAILED", lambda name=name: place.out(name), 240
        )
        out = place.out(name)
        assert all(words in out for words in says), out
        assert "Traceback" not in out


def test_a_suite_of_fits_on_slurm(place, slurm, wait_until):
    """A cell is killed and tried again, another's time is up and it is queued again; both in their runs."""
    suite = {
        "name": "array",
        "recipe": "digits",
        "models": ["neural_ode"],
        "overrides": TINY | {"trainer.max_epochs": 12},
        "seeds": [0, 1],
    }
    (place.folder / "s.yaml").write_text(yaml.safe_dump(suite))
    run = ("suite", "run", "s.yaml", "--launcher", "slurm", "--mem=500M", "--time=10")
    watching = place.integrand(*run)
    folder = place.folder / "integrand-runs/suites/array"

    def status():
        shown = place.integrand("suite", "status", "s.yaml", "--json")
        out, _ = shown.communicate(timeout=120)
        return {cell["seed"]: cell for cell in json.loads(out[out.index("{") :])["cells"]}

    def log(seed):
        path = folder / f"{keys[seed]}.log"
        return path.read_text() if path.exists() else ""

    keys = {seed: cell["key"] for seed, cell in status().items()}
    wait_until(lambda: "epoch 1/" in log(0), lambda: log(0) + slurm.words())
    victim = next(
        p for p in psutil.process_iter(["cmdline"])
        if keys[0] in (p.info["cmdline"] or []) and "fit" in p.info["cmdline"]
    )  # fmt: skip
    victim.kill()
    wait_until(lambda: "epoch 1/" in log(1), lambda: log(1) + slurm.words())
    jobs = [line.split("|") for line in slurm.ask("squeue", "-h", "-r", "-o", "%i|%j").splitlines()]
    index = json.loads(next(folder.glob("slurm/*/tasks.json")).read_text())["tasks"]
    number = next(i for i, task in enumerate(index) if task["key"] == keys[1])
    (job,) = [job for job, name in jobs if name.startswith("integrand-array") and job.endswith(f"_{number}")]
    slurm.ask("scancel", "--signal=USR1", "--batch", job, check=True)
    wait_until(lambda: slurm.now(job), slurm.words)
    out, _ = watching.communicate(timeout=300)
    assert watching.returncode == 0, out
    assert "2 of 2 cells are finished" in out
    found = {int(r.data.tags["seed"]): r for r in place.runs("array")}
    assert {s: (r.info.status, r.data.tags["resumed"]) for s, r in found.items()} == {
        0: ("FINISHED", "1"),
        1: ("FINISHED", "1"),
    }
    for r in found.values():
        assert place.steps(r) == list(range(12 * 8))
    again = place.integrand(*run)
    out, _ = again.communicate(timeout=120)
    assert again.returncode == 0
    assert "2 cells, 2 finished, 0 to run" in out
