"""One fit on two hosts without an engine: torchrun in two network namespaces that a cable joins."""

import os
import secrets
import shutil
import signal
import subprocess
import sys

import psutil
import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.cluster

FIT = [
    *("fit", "--model", "ResNet", "--model.channels", "4", "--data", "Digits", "--data.train_limit", "256"),
    *("--data.batch_size", "32"),
    *("--trainer.accelerator", "cpu", "--trainer.strategy", "ddp", "--trainer.devices", "1"),
    *("--trainer.num_nodes", "2", "--trainer.log_every_n_steps", "1"),
]


class Hosts:
    """Two hosts of one cable; they share the file system of this machine."""

    def __init__(self, folder):
        self.folder = folder
        tag = secrets.token_hex(2)
        self.names = [f"itg{tag}{n}" for n in "ab"]
        self.cards = [f"v{tag}{n}" for n in "ab"]
        self.addresses = ["10.231.7.1", "10.231.7.2"]
        self.agents = []

    def up(self):
        for name in self.names:
            ip("netns", "add", name)
        ip("link", "add", self.cards[0], "type", "veth", "peer", "name", self.cards[1])
        for name, card, address in zip(self.names, self.cards, self.addresses, strict=True):
            ip("link", "set", card, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", card)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", card, "up")

    def down(self):
        for agent in self.agents:
            for process in [*children(agent), agent]:
                process.kill()
            agent.wait()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def start(self, rank, *arguments):
        """The agent of one host, which starts one process of the fit."""
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "MLFLOW_"))},
            **{"GLOO_SOCKET_IFNAME": self.cards[rank], "OMP_NUM_THREADS": "1", "INTEGRAND_OFFLINE": "1"},
        }
        agent = subprocess.Popen(
            [
                *("ip", "netns", "exec", self.names[rank], sys.executable, "-m", "torch.distributed.run"),
                *("--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"),
                *(f"--master-addr={self.addresses[0]}", "--master-port=29511"),
                *("-m", "integrand", *FIT, *arguments),
            ],
            cwd=self.folder,
            env=environment,
            stdout=(self.folder / f"host{rank}.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        self.agents.append(agent)
        return agent

    def said(self):
        return "\n".join(f"{p.name}: {p.read_text()[-3000:]}" for p in sorted(self.folder.glob("host*.log")))

    def run(self):
        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        (run,) = client.search_runs([client.get_experiment_by_name("integrand").experiment_id])
        return run


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def children(agent):
    try:
        return psutil.Process(agent.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def hosts(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not shutil.which("ip"):
        pytest.skip("no ip: make test-cluster installs iproute2")
    made = Hosts(tmp_path)
    try:
        made.up()
        yield made
    finally:
        made.down()


def test_two_hosts_are_one_run(hosts):
    agents = [hosts.start(rank, "--trainer.max_epochs", "2") for rank in (0, 1)]
    assert [agent.wait(240) for agent in agents] == [0, 0], hosts.said()
    run = hosts.run()
    assert run.info.status == "FINISHED"
    # two epochs of 256 / (2 · 32) steps, in each of which both processes evaluate every block
    metrics = run.data.metrics
    assert metrics["solver/nfe_forward_total"] == 2 * 8 * metrics["solver/nfe_forward"]
    assert run.data.params["trainer.num_nodes"] == "2"


def test_a_lost_host_ends_the_run_failed(hosts, wait_until):
    first, second = (hosts.start(rank, "--trainer.max_epochs", "100000") for rank in (0, 1))
    wait_until(lambda: list(hosts.folder.glob("**/last.ckpt")), hosts.said, 240)
    for process in [*children(second), psutil.Process(second.pid)]:
        process.kill()
    assert first.wait(180) != 0
    assert "another process of this fit was lost" in hosts.said()
    run = hosts.run()
    assert run.info.status == "FAILED"
    assert run.data.tags["error_type"] == "LostProcessError"


def test_a_signal_to_one_agent_ends_all(hosts, wait_until):
    first, second = (hosts.start(rank, "--trainer.max_epochs", "100000") for rank in (0, 1))
    wait_until(lambda: list(hosts.folder.glob("**/last.ckpt")), hosts.said, 240)
    # ip replaces itself with the agent, which hands the signal on
    first.send_signal(signal.SIGTERM)
    assert first.wait(120) != 0
    assert second.wait(180) != 0
    assert hosts.run().info.status == "KILLED", hosts.said()
