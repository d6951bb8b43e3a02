"""Averaged weights: the recurrence, and what uses them."""

import torch
from lightning.pytorch import Trainer
from torch import nn

from integrand.datamodules import Circles
from integrand.modules.generative.averaging import averaged
from integrand.modules.generative.backbones import MLP
from integrand.modules.generative.flow_matching import FlowMatching
from integrand.spec import Density, VectorSpec


def test_the_average_follows_the_recurrence_with_its_warm_up():
    net = nn.Linear(1, 1, bias=False)
    average = averaged(net, 0.6)
    values, expected = [1.0, 5.0, -2.0, 4.0, 0.0, 3.0, 7.0], None
    for n, value in enumerate(values):
        with torch.no_grad():
            net.weight.fill_(value)
        average.update_parameters(net)
        decay = min(0.6, (1 + n) / (10 + n))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    torch.testing.assert_close(average.module.weight.item(), expected, rtol=1e-6, atol=0)
    assert not any(p.requires_grad for p in average.parameters())


def test_evaluation_uses_the_average_and_training_does_not():
    torch.manual_seed(0)
    module = FlowMatching(VectorSpec("made-up", Density(), 2))
    with torch.no_grad():
        for p in module.average.module.parameters():
            p.zero_()
    assert module.train().active is module.net
    assert module.eval().active is module.average.module
    # an average of zeros stands still: samples are the noise, likelihoods those of the Gaussian
    x = torch.randn(5, 2)
    torch.testing.assert_close(module(x), torch.distributions.Normal(0, 1).log_prob(x).sum(dim=1))
    plain = FlowMatching(VectorSpec("made-up", Density(), 2), ema=None)
    assert plain.eval().active is plain.net
    assert "average" not in "".join(plain.state_dict())


def test_a_checkpoint_keeps_both_and_a_resumed_fit_goes_on(tmp_path):
    def fit(epochs, ckpt=None):
        torch.manual_seed(0)
        data = Circles(batch_size=16, train_size=64, val_size=16, seed=0)
        module = FlowMatching(data.spec, backbone=MLP(hidden=8, layers=1))
        trainer = Trainer(
            max_epochs=epochs,
            default_root_dir=tmp_path,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
            limit_val_batches=0,
        )
        trainer.fit(module, data, ckpt_path=ckpt)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return module

    one = fit(1)
    state = torch.load(tmp_path / "1.ckpt", weights_only=True)["state_dict"]
    assert int(state["average.n_averaged"]) == 4
    two = fit(2, tmp_path / "1.ckpt")
    assert int(two.average.n_averaged) == 8
    for name, value in one.state_dict().items():
        assert torch.equal(value, state[name]), name
