"""Made-up run records."""

import itertools

import pytest

from integrand.record import RunRecord


@pytest.fixture
def make_run():
    """A finished run of a family with a test accuracy; every field can be overridden."""
    counter = itertools.count()

    def make(family="resnet", seed=0, acc=0.8, nfe=6.0, **fields):
        number = next(counter)
        metrics = (
            {}
            if acc is None
            else {"final/test_acc": acc, "best/val_acc": acc + 0.01, "solver/nfe_forward": nfe}
        )
        values = {
            "run_id": f"{number:02x}" * 16,
            "run_name": f"{family}-s{seed}-{number}",
            "experiment": "exp",
            "status": "FINISHED",
            "started": 1000.0 + number,
            "ended": 1060.0 + number,
            "family": family,
            "seed": seed,
            "data": {"name": "digits", "digest": "sha256:aa", "n_train": 10, "n_val": 5, "n_test": 5},
            "config_digest": f"config-of-{family}",
            "monitor": {"name": "val/acc", "mode": "max"},
            "metrics": {} if acc is None else metrics,
            "cost": {"parameters": 1000.0, "seconds_per_epoch": 1.5},
        }
        return RunRecord(**(values | fields))

    return make


@pytest.fixture
def three_families(make_run):
    """Three families × four seeds: far better, tied with it, far worse; NFE 20, 6 and 0."""
    wiggle = (0.0, 0.01, -0.01, 0.005)
    small = (0.001, -0.002, 0.002, -0.001)
    runs = []
    for seed in range(4):
        runs += [
            make_run("neural-ode", seed, 0.90 + wiggle[seed], 20.0, cost={"parameters": 900.0}),
            make_run("resnet", seed, 0.899 + wiggle[seed] + small[seed]),
            make_run("no-block", seed, 0.70 + wiggle[seed] - small[seed], 0.0, cost={}),
        ]
    return runs
