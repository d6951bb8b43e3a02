"""Split weights (FSDP2): gradients, fits, averages and checkpoints equal those of DDP and of one process."""

import json

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules.generative.backbones import DiT, UNet
from integrand.modules.generative.diffusion import DiffusionModel
from integrand.spec import Classes, ImageSpec

TWO = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.log_every_n_steps", "1"]
ONE = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.strategy", "auto"]
DIGITS = ["--data", "Digits", "--data.train_limit", "256"]
SMALL_DIT = ["--model.backbone", "DiT", "--model.backbone.width", "16", "--model.backbone.depth", "1"]
REFUSED = {
    "fractalnet": "a batch may leave out parts",
    "cnf": "its loss is itself a solve",
    "ffjord": "its loss is itself a solve",
    "adam-neural-ode": "is a single number",
    "heavy-ball-neural-ode": "is a single number",
    "generalized-heavy-ball-neural-ode": "is a single number",
    "resnet with ShakeShake": "lies outside of its parts",
    "sde-net": "it has two optimisers",
    "autoencoder": "encoder and decoder are called apart",
    **dict.fromkeys(("deep-ensemble", "en-resnet", "evidential", "swag"), "does not say what its parts are"),
}
"""Families and noises that the strategy refuses, and why."""


def weights(program, run, name="last"):
    path = program.artifacts(run) / "checkpoints" / f"{name}.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)


def test_every_family_says_whether_it_can_be_split(cases):
    """Every registered family and noise: parts that hold all weights, or a refusal that says why."""
    refused = {}
    for name in cases.FAMILIES:
        module = cases.CASES[name].build()
        try:
            module.check_shardable()
        except UsageError as error:
            refused[name] = str(error)
            continue
        parts = module.shards()
        inside = {id(p) for part in parts for p in part.parameters()}
        assert inside >= {id(p) for p in module.parameters() if p.requires_grad}, name
        for i, part in enumerate(parts):
            assert not {id(m) for m in part.modules()} & {id(p) for p in parts[i + 1 :]}, (
                "inner parts come first"
            )
    assert set(refused) == set(REFUSED)
    for name, message in refused.items():
        assert REFUSED[name] in message
        assert "use --trainer.strategy ddp" in message


@pytest.mark.cluster
def test_gradients_of_every_family(cases, run_pair, tmp_path):
    """Every family and noise, and neural ODEs in every gradient mode: adaptive solves of unlike lengths too."""
    modes = [n for n in cases.EVERY_MODE if n.startswith(("neural-ode ", "neural-sde ", "second-order"))]
    names = [*cases.FAMILIES, *modes]
    run_pair("sharded.py", ",".join(names), tmp_path / "found.json", timeout=1500)
    found = json.loads((tmp_path / "found.json").read_text())
    told = found.pop("split field")
    assert "talks to the other processes" in told
    assert "take fixed steps" in told
    assert {name for name in names if "refused" in found[name]} == set(REFUSED)
    for name, result in found.items():
        if name in REFUSED:
            assert REFUSED[name] in result["refused"], name
            assert "use --trainer.strategy ddp" in result["refused"]
            continue
        assert "failed" not in result, result["failed"]
        assert result["scale"] > 0, name
        assert result["error"] <= cases.CASES[name].tolerance, name
        # the first process has the longer share of odd lengths
        assert 0.5 <= result["share"] < 0.55, name
        assert result["total"][0] > result["nfe"][0] or result["single"] == [0, 0], name


FITS = {
    "dit": ["--model", "DiffusionModel", *SMALL_DIT, "--model.ema", "0.9", *DIGITS],
    "unet": [
        *("--model", "DiffusionModel", "--model.backbone", "UNet", "--model.backbone.channels", "8"),
        *("--model.backbone.multipliers", "[1, 2]", "--model.ema", "null", *DIGITS),
    ],
    "mlp": ["--model", "FlowMatching", "--data", "TwoMoons", "--data.train_size", "512"],
    "resnet": ["--model", "ResNet", "--model.channels", "4", *DIGITS],
    "fixed steps": [
        *("--model", "NeuralODE", "--model.channels", "4", "--model.solver", "RK4"),
        *("--model.solver.num_steps", "2", *DIGITS),
    ],
    "adaptive": ["--model", "NeuralODE", "--model.channels", "4", *DIGITS],
}


@pytest.mark.cluster
@pytest.mark.parametrize("name", FITS)
def test_a_fit_equals_one_by_ddp(program, name):
    """Same processes, same random numbers: weights, averages, optimiser states and metrics of both."""
    found = {}
    for strategy in ("ddp", "fsdp2"):
        done = program(
            *("fit", *FITS[name], *TWO, "--trainer.strategy", strategy, "--trainer.max_epochs", "2"),
            # far below the norms of these gradients, so that it acts in every step
            *("--trainer.gradient_clip_val", "0.1", "--data.batch_size", "32"),
            *("--trainer.logger.experiment", strategy),
        )
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        (found[strategy],) = program.runs(strategy)
        assert found[strategy].info.status == "FINISHED"
    ddp, sharded = (weights(program, run) for run in found.values())
    assert set(ddp["state_dict"]) == set(sharded["state_dict"])
    for key, value in ddp["state_dict"].items():
        # float32, summed in another order, over 8 or 16 steps of Adam: a step is 1e-3 whatever the gradient,
        # and where that is round-off its sign may differ
        assert value.shape == sharded["state_dict"][key].shape
        error = (value - sharded["state_dict"][key]).float().abs()
        assert error.max() < 1e-3, key
        assert error.mean() < 2e-5, key
    moments, others = (c["optimizer_states"][0]["state"] for c in (ddp, sharded))
    assert len(moments) == len(others) > 0
    one, two = found["ddp"].data.metrics, found["fsdp2"].data.metrics
    assert set(one) == set(two)
    for metric in ("cost/parameters", "solver/nfe_forward_total"):
        assert one[metric] == two[metric], metric
    for metric in ("train/loss", "val/loss"):
        assert two[metric] == pytest.approx(one[metric], rel=1e-3), metric
    assert set(found["ddp"].data.tags) == set(found["fsdp2"].data.tags)
    pictures = [
        sorted(p.name for p in (program.artifacts(r) / "figures").glob("*.png")) for r in found.values()
    ]
    assert pictures[0] == pictures[1] != []


@pytest.mark.cluster
def test_checkpoints_go_from_two_processes_to_one_and_back(program):
    fit = ("fit", "--model", "DiffusionModel", *SMALL_DIT, "--model.ema", "0.9", *DIGITS)
    fit = (*fit, "--data.batch_size", "32")
    done = program(
        *fit, *TWO, "--trainer.strategy", "fsdp2", "--trainer.max_epochs", "1", "--test_after_fit", "true"
    )
    assert done.returncode == 0, done.stderr
    run = program.only_run()
    together = run.data.metrics
    checkpoint = weights(program, run)
    state = checkpoint["state_dict"]
    lags = [
        float((value - state["net." + key.removeprefix("average.module.")]).abs().max())
        for key, value in state.items()
        if key.startswith("average.module.") and value.is_floating_point()
    ]
    assert max(lags) > 1e-4  # after a few steps of 1e-3 the average is behind
    alone = program("test", "--run", run.info.run_id, *ONE)
    assert alone.returncode == 0, alone.stderr
    # the same weights and the same probes: round-off of a likelihood of some hundred nats in float32
    after = program.only_run().data.metrics
    assert after["test/nll"] == pytest.approx(together["test/nll"], rel=1e-4)
    for devices, epochs in ((ONE, 2), ([*TWO, "--trainer.strategy", "fsdp2"], 3)):
        before = weights(program, run)
        done = program("fit", "--resume", run.info.run_id, "--trainer.max_epochs", str(epochs), *devices)
        assert done.returncode == 0, done.stderr
        now = weights(program, run)
        steps = [int(next(iter(c["optimizer_states"][0]["state"].values()))["step"]) for c in (before, now)]
        assert steps[1] == steps[0] + (now["global_step"] - before["global_step"]) > steps[0]
    assert program.only_run().info.status == "FINISHED"


@pytest.mark.slow
def test_what_cannot_be_split_is_refused_before_anything_starts(program):
    done = program("fit", "--model", "CNF", "--data", "TwoMoons", *TWO, "--trainer.strategy", "fsdp2")
    assert done.returncode == 2
    assert "CNF cannot be trained by fsdp2: its loss is itself a solve" in done.stderr
    assert not program.runs()


@pytest.mark.parametrize("backbone", [DiT(width=16, depth=3), UNet(channels=8)])
def test_blocks_are_parts_of_their_own(backbone):
    """What is gathered at once is one block, rather than the whole network."""
    spec = ImageSpec("made-up", Classes(3), (1, 8, 8))
    module = DiffusionModel(spec, backbone=backbone)
    module.check_shardable()
    parts = module.shards()
    *blocks, net = parts[: len(parts) // 2]
    assert net is module.net
    assert parts[-1] is module.average.module
    inside = sum(p.numel() for block in blocks for p in block.parameters())
    assert inside > 0.8 * sum(p.numel() for p in net.parameters())
