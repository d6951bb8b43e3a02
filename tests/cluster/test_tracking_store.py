"""A shared tracking server as a team has it: MLflow with passwords on PostgreSQL, which goes down and returns."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from importlib import util
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster
PASSWORD = "correct horse battery"

WRITER = """
import sys, time
from integrand.tracking.spool import operations
from integrand.tracking.request import RunRequest
from integrand.tracking.session import Session
writer, points = sys.argv[1], int(sys.argv[2])
session = Session(RunRequest("many", f"writer-{writer}", None, None, None, {}, 0.5))
for step in range(points):
    session.spool.append(operations.metrics({"loss": step / 7}, step, time.time()))
session.spool.append(operations.status("FINISHED"))
assert session.flush(300)
session.close()
"""


class Postgres:
    """A PostgreSQL of its own, as the unprivileged user that Debian's package makes."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
        self.uri = f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"

    def ask(self, name, *arguments):
        command = [str(self.binaries / name), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        # output into a file: the server keeps an inherited pipe open
        with (self.folder / "postgres.out").open("a") as out:
            done = subprocess.run(command, cwd="/", stdout=out, stderr=out, check=False)
        assert done.returncode == 0, (self.folder / "postgres.out").read_text()

    def make(self):
        self.folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.ask(
            "initdb", "-D", f"{self.folder}/data", "-U", "mlflow", "-A", "trust", "-E", "UTF8", "--no-sync"
        )
        self.start()

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self.ask(
            "pg_ctl", "-D", f"{self.folder}/data", "-w", "-o", options, "-l", f"{self.folder}/log", "start"
        )

    def stop(self):
        self.ask("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", "immediate", "stop")


class Server:
    """MLflow's server with accounts."""

    def __init__(self, folder, port, database):
        self.folder, self.uri, self.port = folder, f"http://127.0.0.1:{port}", port
        (folder / "auth.ini").write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
            "admin_username = admin\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "auth_cache_ttl_seconds = 60\n"
        )
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "2", "--port", str(port)),
                *("--app-name", "basic-auth", "--backend-store-uri", database, "--serve-artifacts"),
                *("--artifacts-destination", f"{folder}/artifacts"),
            ],
            env={
                **os.environ,
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "only for this test",
                "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
                "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            },
            cwd=folder,
            stdout=(folder / "server.log").open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self):
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2)
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory, free_port):
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("no PostgreSQL: make test-cluster installs it")
    # not pytest's folder: the postgres user may not enter it
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    folder.chmod(0o755)
    database = Postgres(folder / "postgres", free_port())
    database.make()
    yield database
    database.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def team(tmp_path_factory, free_port, postgres):
    """A server on it, which wants a password."""
    if util.find_spec("flask_wtf") is None or util.find_spec("psycopg2") is None:
        pytest.skip("no Flask-WTF or psycopg2: pip install 'integrand[cluster]'")
    server = Server(tmp_path_factory.mktemp("server"), free_port(), postgres.uri)
    try:
        server.wait()
        yield server
    finally:
        os.killpg(server.process.pid, 9)
        server.process.wait()


@pytest.fixture
def account(team, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    return team


def client():
    from integrand.tracking.store.opening import open_store

    return open_store()


def runs(experiment):
    return client().search_runs([client().get_experiment_by_name(experiment).experiment_id])


def fit(integrand, *arguments, **env):
    return subprocess.Popen(
        [
            *(*integrand, "fit", "--model", "ResNet", "--model.channels", "4", "--data", "Digits"),
            *(
                "--data.train_limit",
                "256",
                "--trainer.log_every_n_steps",
                "1",
                "--trainer.accelerator",
                "cpu",
            ),
            *arguments,
        ],
        env={**os.environ, "INTEGRAND_OFFLINE": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def record_of(experiment):
    """What a run has left, without what no two runs share: names, times, places."""
    (run,) = runs(experiment)
    names = {m for m in run.data.metrics if not m.startswith(("cost/", "basics/cost"))}
    history = {
        name: [(p.step, p.value) for p in client().get_metric_history(run.info.run_id, name)]
        for name in sorted(names)
        if name.startswith(("train/", "val/", "best/", "final/", "solver/"))
    }
    found = [item.path for item in client().list_artifacts(run.info.run_id)]
    loggers = ("trainer.logger", "trainer.default_root_dir")
    params = {k: v for k, v in run.data.params.items() if not k.startswith(loggers)}
    return run.info.status, names, history, sorted(found), params, set(run.data.tags)


def test_the_same_record_as_in_a_file(account, integrand, monkeypatch, tmp_path):
    command = ("--trainer.max_epochs", "2", "--test_after_fit", "true", "--trainer.logger.experiment", "same")
    _, errors = (process := fit(integrand, *command)).communicate(timeout=240)
    assert process.returncode == 0, errors
    there = record_of("same")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    _, errors = (process := fit(integrand, *command)).communicate(timeout=240)
    assert process.returncode == 0, errors
    here = record_of("same")
    # the server notes whose run it is by name
    assert there[:-1] == here[:-1]
    assert there[-1] == here[-1]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"MLFLOW_TRACKING_PASSWORD": "guessed wrong"}, "refuses the user name or password"),
        ({"MLFLOW_TRACKING_URI": "http://tracking.invalid:5000"}, "does not answer"),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, "does not answer (connection refused)"),
    ],
)
def test_what_cannot_be_reached_is_one_line_before_training(account, integrand, wrong, says):
    process = fit(integrand, "--trainer.max_epochs", "1", **wrong)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("integrand: error:")]
    assert says in line
    assert "→" in line
    assert "Traceback" not in errors
    assert "epoch 1" not in out


def test_an_experiment_of_somebody_else_may_be_read_but_not_written(account, integrand):
    """The server's default permission is READ: the message says whose decision it is, and nothing is trained."""
    client().create_experiment("of-the-admin")
    create = urllib.request.Request(
        f"{account.uri}/api/2.0/mlflow/users/create",
        data=b'{"username": "alice", "password": "another long password"}',
        headers={
            "Content-Type": "application/json",
            "Authorization": "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode(),
        },
    )
    assert urllib.request.urlopen(create, timeout=30).status == 200
    alice = {"MLFLOW_TRACKING_USERNAME": "alice", "MLFLOW_TRACKING_PASSWORD": "another long password"}
    process = fit(
        integrand, *("--trainer.max_epochs", "1", "--trainer.logger.experiment", "of-the-admin"), **alice
    )
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("integrand: error:")]
    assert "of-the-admin" in line
    assert "may not write" in line
    assert "Traceback" not in errors
    assert "epoch 1" not in out
    assert not runs("of-the-admin")
    # her own is hers
    process = fit(
        integrand, *("--trainer.max_epochs", "1", "--trainer.logger.experiment", "of-alice"), **alice
    )
    assert process.wait(240) == 0


def test_database_down_for_ten_seconds(account, postgres, integrand, wait_until):
    process = fit(
        integrand,
        *("--trainer.max_epochs", "400", "--trainer.logger.experiment", "down"),
        *("--trainer.logger.flush_every", "0.2", "--trainer.enable_checkpointing", "false"),
    )
    wait_until(lambda: client().get_experiment_by_name("down") and runs("down"), "no run", 120)
    wait_until(lambda: "train/loss_step" in runs("down")[0].data.metrics, "no points", 120)
    postgres.stop()
    time.sleep(10)
    postgres.start()
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors[-3000:]
    (run,) = runs("down")
    assert run.info.status == "FINISHED"
    steps = [p.step for p in client().get_metric_history(run.info.run_id, "train/loss_step")]
    assert steps == list(range(400 * 2))
    epochs = [p.step for p in client().get_metric_history(run.info.run_id, "val/loss")]
    assert epochs == list(range(1, 800, 2))


def test_eight_writers_of_a_thousand_points(account):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(i), "1000"], stderr=subprocess.PIPE, text=True)
        for i in range(8)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=400)
        assert writer.returncode == 0, errors
    found = runs("many")
    assert len(found) == 8
    for run in found:
        assert run.info.status == "FINISHED"
        steps = [p.step for p in client().get_metric_history(run.info.run_id, "loss")]
        assert steps == list(range(1000))


@pytest.fixture
def disk(tmp_path):
    """A disk of 300 kB that is nearly full."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], check=True)
    (folder / "other").write_bytes(bytes(250 * 1024))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_points_go_to_the_store_where_the_spool_finds_no_space(integrand, disk, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    process = fit(
        integrand,
        *("--trainer.max_epochs", "30", "--trainer.logger.flush_every", "60"),
        INTEGRAND_RUNS=str(disk),
    )
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "No space left on device" in errors
    (run,) = runs("integrand")
    assert run.info.status == "FINISHED"
    steps = [p.step for p in client().get_metric_history(run.info.run_id, "train/loss_step")]
    assert steps == list(range(30 * 2))


def test_no_space_for_checkpoints_ends_the_run_failed_in_one_line(integrand, disk, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    process = fit(integrand, "--trainer.max_epochs", "3", "--trainer.logger.artifact_dir", str(disk))
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "integrand: error: no space left on the disk of" in errors
    assert "integrand fit --resume" in errors
    assert "Traceback" not in errors
    (run,) = runs("integrand")
    assert run.info.status == "FAILED"
