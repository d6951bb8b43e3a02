"""When learning-rate schedules take a step, and what the plateau scheduler watches."""

import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim import lr_scheduler as schedules

from integrand.cli.line import Line
from integrand.modules import NoBlock
from integrand.spec import Classes, VectorSpec

SPEC = VectorSpec("x", Classes(2), 3)


def configured(make, **kwargs):
    return NoBlock(SPEC, lr_scheduler=make, **kwargs).configure_optimizers()["lr_scheduler"]


@pytest.mark.parametrize(
    ("make", "interval"),
    [
        (lambda o: schedules.OneCycleLR(o, max_lr=0.1, total_steps=33), "step"),
        (lambda o: schedules.CyclicLR(o, 0.01, 0.1, cycle_momentum=False), "step"),
        (lambda o: schedules.CosineAnnealingLR(o, 5), "epoch"),
    ],
)
def test_a_schedule_steps_as_it_is_made_for_unless_told(make, interval):
    assert configured(make)["interval"] == interval
    other = {"step": "epoch", "epoch": "step"}[interval]
    assert configured(make, lr_scheduler_interval=other)["interval"] == other


def test_a_plateau_is_one_of_the_validation_loss_unless_told():
    assert configured(schedules.ReduceLROnPlateau)["monitor"] == "val/loss"
    assert configured(lambda o: ReduceLROnPlateau(o, monitor="val/acc"))["monitor"] == "val/acc"


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["--model.lr_scheduler", "ReduceLROnPlateau"], "torch.optim.lr_scheduler"),
        (
            ["--model.lr_scheduler", "ReduceLROnPlateau", "--model.lr_scheduler.monitor", "val/acc"],
            "lightning.pytorch.cli",
        ),
    ],
)
def test_the_short_name_of_the_plateau_is_spelled_out(words, module):
    line = Line(words)
    line.name_plateau()
    assert line.words[0].value == f"{module}.ReduceLROnPlateau"


def test_the_rate_falls_where_the_loss_stays():
    net = NoBlock(SPEC, lr_scheduler=lambda o: schedules.ReduceLROnPlateau(o, patience=0))
    optimizer = net.configure_optimizers()
    for _ in range(3):
        optimizer["lr_scheduler"]["scheduler"].step(torch.tensor(1.0))
    assert optimizer["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-5)
