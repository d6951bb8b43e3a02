"""Real engines in temporary folders: a SLURM of two nodes, and what tests of it need."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_ports():
    """Three ports, the last two of them neighbours."""
    while True:
        port = free_port()
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port + 1))
            return free_port(), port, port + 1


def wait_until(condition, what, seconds=120.0, pause=0.25):
    """Wait for something that is to become true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, (
            f"waited {seconds:.0f} s in vain: {what() if callable(what) else what}"
        )
        time.sleep(pause)
    return found


class Slurm:
    """Two nodes of one cluster on this machine, each with two pretended GPUs; needs no daemon of the system.

    Args:
        folder: Where everything of it lies.
    """

    NODES = ("n1", "n2")

    def __init__(self, folder):
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        self.environment |= {"SLURM_CONF": str(self.conf), "OMP_NUM_THREADS": "1"}
        self.munge = folder / "munge.socket"
        self.daemons = []

    def write(self):
        controller, *nodes = free_ports()
        host, user = socket.gethostname().partition(".")[0], getpass.getuser()
        for name in ("state", "spool/n1", "spool/n2"):
            (self.folder / name).mkdir(parents=True)
        ports = f"[{nodes[0]}-{nodes[1]}]"
        line = f"NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs=2 RealMemory=4000 Gres=gpu:2"
        self.conf.write_text(
            textwrap.dedent(f"""\
            ClusterName=test
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={controller}
            SlurmUser={user}
            SlurmdUser={user}
            AuthInfo=socket={self.munge}
            StateSaveLocation={self.folder}/state
            SlurmdSpoolDir={self.folder}/spool/%n
            SlurmctldPidFile={self.folder}/slurmctld.pid
            SlurmdPidFile={self.folder}/slurmd-%n.pid
            SlurmctldLogFile={self.folder}/slurmctld.log
            SlurmdLogFile={self.folder}/slurmd-%n.log
            ProctrackType=proctrack/pgid
            TaskPlugin=task/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_Core
            MpiDefault=none
            JobAcctGatherType=jobacct_gather/none
            AccountingStorageType=accounting_storage/none
            ReturnToService=2
            SlurmdParameters=config_overrides
            SlurmdTimeout=10
            KillWait=15
            MinJobAge=20
            InactiveLimit=0
            SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,bf_interval=2
            GresTypes=gpu
            """)
            + f"{line}\nPartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        )
        # /dev/tty1 and its like stand for GPUs: SLURM only wants device files
        gres = [
            f"NodeName={node} Name=gpu File=/dev/tty[{2 * i + 1}-{2 * i + 2}]"
            for i, node in enumerate(self.NODES)
        ]
        (self.folder / "gres.conf").write_text("\n".join(gres) + "\n")

    def start(self, *command):
        log = (self.folder / f"{Path(command[0]).name}-{len(self.daemons)}.out").open("w")
        process = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self.daemons.append(process)
        return process

    def up(self):
        self.write()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        names = [("key-file", key)] + [
            (f"{n}-file", self.folder / f"munge.{n}") for n in ("pid", "log", "seed")
        ]
        options = [f"--{name}={path}" for name, path in names]
        self.start("munged", "--foreground", "--force", f"--socket={self.munge}", *options)
        wait_until(self.munge.exists, "munged's socket", 20)
        self.start("slurmctld", "-D", "-c", "-f", str(self.conf))
        for node in self.NODES:
            self.start_node(node)
        wait_until(
            lambda: self.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle", "idle"], self.words, 60
        )

    def start_node(self, node):
        return self.start("slurmd", "-D", "-f", str(self.conf), "-N", node)

    def lose(self, node):
        """The daemon of a node dies."""
        for process in [p for p in self.daemons if node in p.args]:
            process.kill()
            process.wait()
            self.daemons.remove(process)

    def now(self, job):
        """Let a job that was queued again begin at once: SLURM holds it for two minutes. Whether it is there."""
        state = self.ask("squeue", "-h", "-r", "-j", job, "-o", "%T")
        if state != "PENDING":
            return False
        self.ask("scontrol", "update", f"JobId={job}", "StartTime=now", check=True)
        return True

    def words(self):
        return "\n".join(p.read_text()[-2000:] for p in sorted(self.folder.glob("*.log")))

    def ask(self, *command, check=False):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def down(self):
        self.ask("scancel", "--full", "--user", getpass.getuser())
        deadline = time.monotonic() + 30
        while self.ask("squeue", "-h") and time.monotonic() < deadline:
            time.sleep(0.5)
        for process in reversed(self.daemons):
            process.terminate()
        for process in reversed(self.daemons):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="session")
def slurm():
    """A SLURM of two nodes."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "srun") if not shutil.which(name)]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: make test-cluster installs SLURM")
    # not pytest's folder: the path of a socket may have 107 bytes
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    cluster = Slurm(folder)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", name="free_port")
def _free_port():
    return free_port


@pytest.fixture(scope="session", name="wait_until")
def _wait_until():
    return wait_until


@pytest.fixture
def integrand():
    """The command line as a list to begin a command with."""
    return [sys.executable, "-m", "integrand"]
