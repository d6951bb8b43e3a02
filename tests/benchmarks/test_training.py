"""`integrand bench training`: both loops train the same; how fast they are is not tested."""

import json

import pytest
import torch

from integrand.benchmarks import training
from integrand.cli.bench import names, run
from integrand.datamodules import Digits
from integrand.modules.generative.backbones import TimeNet, UNet


def test_rows(tmp_path, capsys, monkeypatch):
    # inductor takes tens of seconds; what it makes faster is not tested
    monkeypatch.setattr(torch, "compile", lambda function: function)
    file = tmp_path / "rows.json"
    words = ["--repetitions", "1", "--batch", "512", "--channels", "8", "--json", str(file)]
    assert run(["training", *words]) == 0
    rows = json.loads(file.read_text())
    plain = [r["case"] for r in rows if r["reference"] == "plain loop"]
    assert plain == list(training.CASES)
    others = [r["case"] for r in rows if r["reference"] == "diffusion"]
    assert others == [f"diffusion, {name}" for name in training.OPTIONS]
    assert all(r["ratio"] > 0 and r["nfe"] > 0 for r in rows)
    assert "images/s" in capsys.readouterr().out
    assert "training" in names()


class Same(TimeNet):
    """A network that says its state, so that the sign of what it should say shows."""

    def forward(self, t, x, y=None):
        return x


@pytest.mark.parametrize("name", training.CASES)
def test_the_plain_loss_is_that_of_the_family(name):
    family, loss = training.CASES[name]
    torch.manual_seed(0)
    module = family(Digits().spec, backbone=UNet(channels=8, multipliers=[1], blocks=1), ema=None).train()
    module.net = Same()
    x = torch.randn(4096, 1, 8, 8)
    ours = float(module.objective(x, None, "train").terms["loss"])
    # 262,144 squares, of deviation about twice their mean: a standard error of 0.4 %
    assert float(loss(module.net, x)) == pytest.approx(ours, rel=0.02)
