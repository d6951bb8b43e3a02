"""Made-up records of a small suite, with artifacts, and the page made of them."""

import math
import random

import pytest
from PIL import Image

from integrand.comparison.analysis import compare
from integrand.comparison.measures import choose_metric
from integrand.comparison.records.load import Selection, load
from integrand.record import RunRecord

FAMILIES = {  # accuracy, forward NFE, parameters
    "neural-ode": (0.90, 26.0, 7706.0),
    "resnet": (0.89, 3.0, 16826.0),
    "heavy-ball-neural-ode": (0.89, 26.0, 10571.0),
    "no-block": (0.70, 0.0, 2714.0),
}
PROVENANCE = {
    "integrand": "0.1.0",
    "git_commit": "0123456789abcdef0123",
    "git_dirty": True,
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "device": {"type": "cpu", "name": "Some CPU", "cores": 2, "threads": 1},
    "system": "Linux",
    "determinism": {"deterministic_algorithms": True, "cudnn_benchmark": False},
    "lock_digest": "sha256:" + "ab" * 32,
    "command": [
        "/somewhere/integrand",
        "fit",
        "--config",
        "/somewhere/lib/integrand/configs/published/cifar10/resnet_20.yaml",
        "--seed_everything",
        "0",
        "--trainer.logger.run_key",
        "0123",
    ],
}


def history(accuracy, nfe, draw):
    """Ten epochs of a run that learns, counted from 0 as tracking does."""

    def series(value):
        return [[20 * e, e, 1.5 * e, value(e)] for e in range(10)]

    return {
        "val/acc": series(lambda e: accuracy - (accuracy - 0.1) * math.exp(-e / 2) + draw.gauss(0, 0.005)),
        "train/loss": series(lambda e: 2.3 * math.exp(-e / 3) + 0.1),
        "solver/nfe_forward": series(lambda e: nfe * (1 + 0.02 * e)),
        "solver/nfe_backward": series(lambda e: 0.0),
    }


def record(family, seed, **changes):
    """A finished run."""
    accuracy, nfe, parameters = FAMILIES.get(family, (0.8, 10.0, 5000.0))
    draw = random.Random(f"{family}{seed}")
    common = random.Random(seed).gauss(0, 0.01)
    acc = accuracy + common + draw.gauss(0, 0.003)
    values = {
        "run_id": f"{sum(map(ord, family)):06x}{seed:02x}" * 4,
        "run_name": f"{family}-s{seed}",
        "experiment": "small",
        "suite": "small",
        "status": "FINISHED",
        "started": 1.7e9 + 100 * seed,
        "ended": 1.7e9 + 100 * seed + 60,
        "family": family,
        "seed": seed,
        "solver": "dopri5 rtol=1e-3 atol=1e-3" if nfe > 10 else "",
        "gradient": "backprop" if nfe > 10 else "",
        "data": {"name": "digits", "digest": "sha256:aa", "n_train": 1200, "n_val": 200, "n_test": 397},
        "config_digest": f"config-of-{family}",
        "config": {"model": {"class_path": family, "init_args": {"channels": 16}}, "seed_everything": seed},
        "monitor": {"name": "val/acc", "mode": "max"},
        "metrics": {
            "final/test_acc": acc,
            "best/val_acc": acc + 0.01,
            "solver/nfe_forward": nfe,
            "solver/nfe_backward": 0.0,
        },
        "cost": {
            "parameters": parameters,
            "seconds_per_epoch": 0.1 + 0.02 * nfe + 0.001 * seed,
            "peak_memory_mb": 400.0 + nfe,
        },
        "history": history(acc, nfe, draw),
        "provenance": PROVENANCE,
    }
    return RunRecord(**(values | changes))


def small_suite():
    """Four families × four seeds, one of the sixteen runs failed."""
    runs = [record(family, seed) for family in FAMILIES for seed in range(4)]
    runs[-1].status, runs[-1].metrics, runs[-1].history = "FAILED", {}, {}
    runs[-1].error = {"type": "NonFiniteLossError", "message": "loss <b>NaN</b> at step 12"}
    return runs


def write_records(runs, folder):
    """As tracking leaves them, with a picture per run of the neural ODE."""
    for run in runs:
        home = folder / run.run_id / "artifacts"
        (home / "figures").mkdir(parents=True)
        if run.family == "neural-ode":
            run.figures = ["figures/loss.png", "figures/trajectories.png"]
            for name in run.figures:
                Image.new("RGB", (1400, 700), (200, 30 * (run.seed or 0), 90)).save(home / name)
            (home / "figures" / "descriptions.json").write_text(
                '{"figures/trajectories.png": "Hidden states of 12 samples"}'
            )
        (home / "record.json").write_text(run.to_json(), encoding="utf-8")
    return folder


def comparison_of(folder, **options):
    """As `integrand report --records FOLDER` compares them."""
    loaded = load(Selection(records=folder))
    return compare(
        loaded.records, choose_metric(loaded.records), title="small", traces=loaded.traces, **options
    )


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """The folder of the small suite."""
    return write_records(small_suite(), tmp_path_factory.mktemp("records") / "small")


@pytest.fixture(scope="session")
def comparison(records):
    return comparison_of(records)


@pytest.fixture(scope="session")
def make_record():
    return record


@pytest.fixture(scope="session")
def make_suite():
    return small_suite


@pytest.fixture(scope="session")
def save_records():
    return write_records


@pytest.fixture(scope="session")
def compare_folder():
    return comparison_of
