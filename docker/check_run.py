"""Run by check.sh in the trainer: its run is whole, and the artifacts are what was written here."""

import hashlib
import json
import os
import socket
from pathlib import Path

import mlflow
import requests
from mlflow import MlflowClient


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


client = MlflowClient()
experiment = client.get_experiment_by_name("docker-check")
(run,) = client.search_runs([experiment.experiment_id])
assert run.info.status == "FINISHED", run.info.status
assert run.info.artifact_uri.startswith("mlflow-artifacts:"), run.info.artifact_uri
assert run.data.params["model"] == "ResNet"
history = client.get_metric_history(run.info.run_id, "train/loss_step")
assert history
assert "final/test_acc" in run.data.metrics, run.data.metrics

local = Path("integrand-runs")
fetched = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path="fetched"))
pairs = {fetched / "record.json": local / "records" / f"{run.info.run_id}.json"}
pairs |= {
    fetched / "checkpoints" / p.name: p for p in (local / "checkpoints" / run.info.run_id).glob("*.ckpt")
}
assert len(pairs) >= 3, sorted(map(str, pairs))
for there, here in pairs.items():
    assert digest(there) == digest(here), f"{there} differs from {here}"
record = json.loads((fetched / "record.json").read_text())
assert (fetched / "config" / "fit.yaml").stat().st_size > 0
assert (fetched / "provenance.json").stat().st_size > 0

# the trainer holds no keys of the object store, cannot reach it or the database, and is no administrator
assert not [name for name in os.environ if name.startswith(("AWS_", "POSTGRES", "ADMIN"))]
for host in ("db", "store"):
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        continue
    raise AssertionError(f"the trainer sees {host}")
answer = requests.patch(
    f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/users/update-admin",
    json={"username": os.environ["MLFLOW_TRACKING_USERNAME"], "is_admin": True},
    auth=(os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]),
    timeout=60,
)
assert answer.status_code == 403, f"the trainer makes itself an administrator: {answer.text}"
print(f"run {run.info.run_id}: {len(run.data.metrics)} metrics, {len(history)} points of train/loss_step,")
print(f"{len(pairs)} artifacts equal to the local files, {len(record)} entries in the record")
