"""The Ray launcher on a real cluster of two nodes, with commands of a second: what is retried, lost, stopped."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import psutil
import pytest
import yaml

pytestmark = pytest.mark.cluster
pytest.importorskip("ray", reason="no Ray: pip install 'integrand[ray]', or make test-cluster")


class Ray:
    """Two nodes of a cluster on this machine, one core each; the second has two pretended GPUs."""

    def __init__(self, folder, free_port):
        self.folder = folder
        self.free_port = free_port
        self.address = f"127.0.0.1:{free_port()}"
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ADDRESS": self.address,
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "OMP_NUM_THREADS": "1",
        }
        self.nodes = []

    def start(self, *options):
        ports = [
            f"--{name}={self.free_port()}" for name in ("dashboard-agent-listen-port", "metrics-export-port")
        ]
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            "--num-cpus=1",
            *ports,
            *options,
        ]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        with (self.folder / f"node-{len(self.nodes)}.log").open("w") as log:
            node = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.nodes.append(node)

    def up(self):
        port = self.address.rpartition(":")[2]
        self.start(
            "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}/ray", "--num-gpus=0",
        )  # fmt: skip

    def join(self):
        self.start(f"--address={self.address}", "--num-gpus=2")

    def lose(self):
        """The second node vanishes with all its processes, as when its power fails."""
        node = self.nodes.pop()
        for process in [*psutil.Process(node.pid).children(recursive=True), node]:
            process.kill()
        node.wait()

    def words(self):
        assert all(node.poll() is None for node in self.nodes), "\n".join(self.logs())
        return "\n".join(self.logs())

    def logs(self):
        return [p.read_text()[-3000:] for p in self.folder.glob("*.log")]

    def down(self):
        family = list(self.nodes)
        for node in self.nodes:
            if node.poll() is None:
                family += psutil.Process(node.pid).children(recursive=True)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.terminate()
        _, alive = psutil.wait_procs([psutil.Process(p.pid) for p in family if psutil.pid_exists(p.pid)], 5)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for node in self.nodes:
            node.wait(10)


@pytest.fixture(scope="module")
def ray_cluster(free_port, wait_until):
    """Two nodes."""
    # the paths of Ray's sockets may have 107 bytes
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    cluster = Ray(folder, free_port)
    try:
        cluster.up()
        wait_until(lambda: "Ray runtime started" in cluster.words(), cluster.words)
        cluster.join()
        wait_until(lambda: cluster.words().count("Ray runtime started") == 2, cluster.words)
        yield cluster
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


DRIVER = """
import json, sys
from pathlib import Path
from integrand.suites.launcher import Task
from integrand.suites.ray_cluster import RayLauncher

class Printer:
    def started(self, task, attempt): print("started", task.key, attempt, flush=True)
    def retried(self, task, error): print("retried", task.key, error, flush=True)
    def ended(self, outcome): print("ended", outcome.task.key, outcome.state, flush=True)
    def tick(self): pass
    def stopping(self, reason): print("stopping", reason, flush=True)

folder, codes, options = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
tasks = [Task(k, k, (sys.executable, "-c", c), folder / "logs" / f"{k}.log") for k, c in codes.items()]
outcomes = RayLauncher(**options).launch(tasks, Printer())
found = {o.task.key: (o.state, o.attempts, o.returncode, o.error) for o in outcomes}
(folder / "outcomes.json").write_text(json.dumps(found))
"""


def start(cluster, folder, codes, **options):
    settings = {"grace": 5.0} | options
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), json.dumps(codes), json.dumps(settings)],
        cwd=folder,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    process.outcomes = folder / "outcomes.json"
    return process


def result(process, seconds=120):
    """The outcomes, and what the observer was told; Ray itself says nothing."""
    out, errors = process.communicate(timeout=seconds)
    assert process.outcomes.exists(), errors
    told = out.splitlines()
    assert {line.split(" ")[0] for line in told} <= {"started", "retried", "ended", "stopping"}, out
    return json.loads(process.outcomes.read_text()), told


def fail_once(folder, end):
    mark = folder / "mark"
    return textwrap.dedent(f"""
        import os, pathlib, signal, time
        mark = pathlib.Path({str(mark)!r})
        if not mark.exists():
            mark.write_text(str(os.getpid())); print("first", flush=True); {end}
        print("alone", os.environ.get("INTEGRAND_ALONE"))
        """)


def test_cells_spread_fail_are_killed_and_tried_again(ray_cluster, tmp_path):
    node = "import os, time; time.sleep(2); print(os.environ['CUDA_VISIBLE_DEVICES'] or 'none', os.getcwd())"
    codes = {
        "k": fail_once(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)"),
        "b": "raise ValueError('broken')",
        "u": "raise SystemExit(2)",
        "n": node,
    }
    found, lines = result(start(ray_cluster, tmp_path, codes, gpus=0))
    assert found == {
        "k": ["finished", 2, 0, ""],
        "b": ["failed", 2, 1, "exit code 1: ValueError: broken"],
        "u": ["failed", 1, 2, "exit code 2"],
        "n": ["finished", 1, 0, ""],
    }
    assert (tmp_path / "logs/k.log").read_text() == "first\n=== attempt 2 ===\nalone 1\n"
    assert (tmp_path / "logs/n.log").read_text() == f"none {tmp_path}\n"
    assert {line for line in lines if line.startswith("started")} == {f"started {k} 1" for k in "kbun"}


def test_each_cell_has_a_gpu_of_its_own(ray_cluster, tmp_path):
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    found, _ = result(start(ray_cluster, tmp_path, {"g": code}))
    assert found["g"][0] == "finished"
    assert (tmp_path / "logs/g.log").read_text() in ("0\n", "1\n")


def test_a_killed_worker(ray_cluster, tmp_path, wait_until):
    """Ray's own process dies with the cell in it; Ray starts both again."""
    process = start(ray_cluster, tmp_path, {"w": fail_once(tmp_path, "time.sleep(300)")}, gpus=0)
    wait_until((tmp_path / "mark").exists, ray_cluster.words)
    cell = psutil.Process(int((tmp_path / "mark").read_text()))
    worker = cell.parent()
    worker.kill()
    found, lines = result(process)
    assert found == {"w": ["finished", 2, 0, ""]}
    assert any(line.startswith("retried w its worker or node was lost") for line in lines)
    assert not cell.is_running(), "no orphan goes on beside it"
    assert (tmp_path / "logs/w.log").read_text().endswith("=== attempt 2 ===\nalone 1\n")


def test_a_stop_ends_cells_in_order_and_starts_no_more(ray_cluster, tmp_path, wait_until):
    code = f"""
import pathlib, signal, sys, time
def end(*_):
    print("cleaned up", flush=True); sys.exit(143)
signal.signal(signal.SIGTERM, end)
pathlib.Path({str(tmp_path)!r}, "up").touch()
time.sleep(300)
"""
    process = start(ray_cluster, tmp_path, dict.fromkeys("abc", code), gpus=0, jobs=1)
    wait_until((tmp_path / "up").exists, ray_cluster.words)
    process.send_signal(signal.SIGINT)
    found, lines = result(process)
    assert lines == ["started a 1", "stopping SIGINT", "ended a interrupted"]
    assert found == {"a": ["interrupted", 1, 143, "ended by SIGTERM"]}
    assert (tmp_path / "logs/a.log").read_text() == "cleaned up\n"


@pytest.mark.parametrize(
    ("changed", "options", "says"),
    [
        ({"RAY_AUTH_TOKEN": "f" * 64}, {}, "refuses this machine's token"),
        ({}, {"cpus": 64}, "no node has 64 cores"),
        ({}, {"gpus": 5.0}, "no node has 1 cores and 5 GPUs"),
    ],
)
def test_what_cannot_work_is_one_line(ray_cluster, tmp_path, changed, options, says):
    cluster = ray_cluster
    words = [f"--{name}={value:g}" for name, value in options.items()]
    (tmp_path / "s.yaml").write_text("name: s\nrecipe: digits\nmodels: [resnet]\n")
    done = subprocess.run(
        [sys.executable, "-m", "integrand", "suite", "run", "s.yaml", "--launcher", "ray", *words],
        cwd=tmp_path,
        env=cluster.environment | changed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("integrand: error:")]
    assert says in error


def test_a_suite_of_fits_on_two_nodes(ray_cluster, tmp_path, wait_until):
    """A cell's worker is killed in mid-training; its run goes on, and finished cells are skipped."""
    suite = {
        "name": "spread",
        "recipe": "digits",
        "models": ["neural_ode"],
        "overrides": {
            "data.train_limit": 512,  # 8 steps of 64 an epoch
            "model.channels": 4,
            "trainer.log_every_n_steps": 1,
            "trainer.max_epochs": 12,
        },
        "seeds": [0, 1],
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(suite))
    command = [
        sys.executable,
        "-m",
        "integrand",
        "suite",
        "run",
        "s.yaml",
        "--launcher",
        "ray",
        "--gpus",
        "0",
    ]
    environment = ray_cluster.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}

    def run():
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    folder = tmp_path / "integrand-runs/suites/spread"
    watching = run()
    wait_until(lambda: any("epoch 1/" in p.read_text() for p in folder.glob("*.log")), ray_cluster.words, 240)
    (log, *_) = [p for p in folder.glob("*.log") if "epoch 1/" in p.read_text()]
    cell = next(
        p for p in psutil.process_iter(["cmdline"])
        if log.stem in (p.info["cmdline"] or []) and "fit" in p.info["cmdline"]
    )  # fmt: skip
    cell.parent().kill()
    out, _ = watching.communicate(timeout=400)
    assert watching.returncode == 0, out
    assert "its worker or node was lost" in out
    from mlflow import MlflowClient

    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    found = client.search_runs([client.get_experiment_by_name("spread").experiment_id])
    cells = {r.data.tags["run_key"]: r for r in found if "run_key" in r.data.tags}
    assert len(cells) == len([r for r in found if "role" not in r.data.tags]) == 2
    assert {r.info.status for r in cells.values()} == {"FINISHED"}
    assert cells[log.stem].data.tags["resumed"] == "1"
    for r in cells.values():
        steps = [p.step for p in client.get_metric_history(r.info.run_id, "train/loss_step")]
        assert steps == list(range(12 * 8))
    out, _ = run().communicate(timeout=200)
    assert "2 cells, 2 finished, 0 to run" in out


def test_a_lost_node(ray_cluster, tmp_path, wait_until):
    """Last, for it takes the second node away. Its cell goes on on the first."""
    code = f"""
import os, pathlib, time
mark, gate = pathlib.Path({str(tmp_path)!r}, "mark-KEY"), pathlib.Path({str(tmp_path)!r}, "gate")
print("alone", os.environ.get("INTEGRAND_ALONE"), flush=True)
mark.write_text(str(os.getpid()))
while not gate.exists(): time.sleep(0.1)
"""
    marks = {key: tmp_path / f"mark-{key}" for key in "ab"}
    codes = {key: code.replace("KEY", key) for key in marks}
    process = start(ray_cluster, tmp_path, codes, gpus=0)
    wait_until(lambda: all(m.exists() and m.read_text() for m in marks.values()), ray_cluster.words)
    second = ray_cluster.nodes[1].pid
    nodes = {key: [p.pid for p in psutil.Process(int(m.read_text())).parents()] for key, m in marks.items()}
    (lost,) = [key for key, parents in nodes.items() if second in parents]
    log = tmp_path / f"logs/{lost}.log"
    # a worker sends what a cell prints twice a second; what a node has not sent is lost with it
    wait_until(lambda: log.exists() and log.read_text() == "alone None\n", ray_cluster.words)
    ray_cluster.lose()
    (tmp_path / "gate").touch()
    found, lines = result(process, 180)
    (kept,) = set(marks) - {lost}
    assert found == {kept: ["finished", 1, 0, ""], lost: ["finished", 2, 0, ""]}
    assert any(line.startswith(f"retried {lost}") for line in lines)
    assert log.read_text() == "alone None\n=== attempt 2 ===\nalone 1\n"
