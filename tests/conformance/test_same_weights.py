"""Training gives the weights that it gave before family and task were parted, bit for bit.

`recorded/weights.json` was written by the code before: two epochs of eight batches on the digits, one thread. Arms
with adaptive steps were written again when the default step control changed, on purpose; its `made_by` says so. On
another machine or version of torch, sums are taken in another order; there the losses are compared instead.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

import integrand.modules as families
from integrand.datamodules import Digits
from integrand.modules.generative.backbones.conv import Conv
from integrand.modules.noise import StochasticDepth

RECORDED = json.loads((Path(__file__).parent / "recorded" / "weights.json").read_text())
CASES = {
    "no-block": ("NoBlock", {"channels": 4}),
    "resnet": ("ResNet", {"channels": 4, "blocks": 2}),
    "stochastic-depth": ("ResNet", {"channels": 4, "blocks": 2, "noise": lambda: StochasticDepth(0.8)}),
    "momentum-resnet": ("MomentumResNet", {"channels": 4, "blocks": 2}),
    "revnet": ("RevNet", {"channels": 4, "blocks": 2}),
    "leapfrog": ("LeapfrogNet", {"channels": 4, "blocks": 2}),
    "hamiltonian": ("HamiltonianNet", {"channels": 4, "blocks": 2}),
    "parabolic": ("ParabolicCNN", {"channels": 4, "blocks": 2}),
    "neural-ode": ("NeuralODE", {"channels": 4}),
    "augmented": ("AugmentedNeuralODE", {"channels": 4, "augment": 2}),
    "heavy-ball": ("HeavyBallNeuralODE", {"channels": 4}),
    "second-order": ("SecondOrderNeuralODE", {"channels": 4}),
    "rnode": ("RNODE", {"channels": 4}),
    "neural-sde": ("NeuralSDE", {"channels": 4}),
    "flow-matching": ("FlowMatching", {"backbone": lambda: Conv(hidden=8)}),
    "diffusion": ("DiffusionModel", {"backbone": lambda: Conv(hidden=8)}),
}


def vendor():
    """Who made the processor, whose libraries add in an order of their own; empty where Linux does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "")


def trained(name, options):
    """The weights after two epochs, and the last training loss."""
    seed_everything(0, verbose=False)
    data = Digits(batch_size=64)
    made = {key: value() if callable(value) else value for key, value in options.items()}
    family = getattr(families, name)
    if family.models == "outputs":
        made["head"] = "group"  # the only one there was
    module = family(spec=data.spec, **made)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        limit_train_batches=8,
        limit_val_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=not module.needs_grad_at_eval,
    )
    trainer.fit(module, datamodule=data)
    return module.state_dict(), float(trainer.callback_metrics["train/loss"])


@pytest.mark.parametrize(("case", "options"), CASES.items(), ids=CASES.keys())
def test_training_gives_the_weights_that_it_gave(case, options, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))  # Lightning keeps the seed there
    weights, loss = trained(*options)
    before = RECORDED["families"][case]
    # rounding in another order grows over 16 steps of Adam, but not to a hundredth of the loss
    assert loss == pytest.approx(before["loss"], rel=1e-2)
    here = {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "vendor": vendor(),
    }
    if here.items() <= RECORDED.items():
        digest = hashlib.sha256()
        for name in sorted(weights):
            digest.update(name.encode())
            digest.update(weights[name].contiguous().numpy().tobytes())
        assert digest.hexdigest() == before["sha256"]
