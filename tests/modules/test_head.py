"""The norms of the shared bench for images: every head, what batch statistics ask for, and those of fields."""

from typing import get_args

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

from integrand.datamodules import Digits
from integrand.errors import UsageError
from integrand.modules import AugmentedNeuralODE, NeuralODE, NoBlock, ParabolicCNN, ResNet
from integrand.modules.bench.image.fields import PreActivationField
from integrand.modules.bench.image.head import Head, ReadOut
from integrand.modules.bench.image.image_state import ImageState
from integrand.modules.bench.image.shared import SharedLayout
from integrand.modules.bench.norm import FieldNorm, RMSNorm2d
from integrand.modules.noise import FeynmanKac
from integrand.solvers import Dopri5
from integrand.spec import Classes, ImageSpec, VectorSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def norm_of(module):
    (norm,) = [m for m in module.net.head if isinstance(m, nn.BatchNorm1d)]
    return norm


@pytest.mark.parametrize("read_out", get_args(ReadOut))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 17)], ids=["square", "odd"])
def test_every_read_out_says_its_outputs_and_learns(read_out, shape):
    module = ResNet(ImageSpec("made-up", Classes(3), shape), channels=4, blocks=1, head=read_out)
    said = module(torch.randn(5, *shape))
    assert said.shape == (5, 3)
    said.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.net.head.parameters())


def test_batch_norm_of_the_means_is_the_default():
    head = ResNet(SPEC, channels=4).net.head
    assert head.read_out == "pooled_batch"
    assert [type(layer) for layer in head] == [
        nn.GroupNorm,
        nn.ReLU,
        nn.AdaptiveAvgPool2d,
        nn.Flatten,
        nn.BatchNorm1d,
        nn.Linear,
    ]


def test_batch_norm_before_the_mean_is_that():
    head = ResNet(SPEC, channels=4, head="batch").double().net.head.train()
    h = torch.randn(5, 4, 8, 8, dtype=torch.float64)
    mean, var = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), correction=0, keepdim=True)
    pooled = torch.relu((h - mean) / (var + 1e-5).sqrt()).mean((2, 3))
    linear = head[-1]
    torch.testing.assert_close(head(h), pooled @ linear.weight.mT + linear.bias, rtol=1e-12, atol=1e-12)


def test_pooled_norms_see_the_means():
    h = torch.randn(50, 4, 8, 8)
    for read_out, dims in (("pooled_batch", 0), ("pooled_layer", 1)):
        head = Head(4, 3, read_out)
        normed = nn.Sequential(*list(head)[:-1])(h)
        assert normed.shape == (50, 4)
        torch.testing.assert_close(normed.mean(dims), torch.zeros_like(normed.mean(dims)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [NeuralODE, AugmentedNeuralODE], ids=["plain", "augmented"])
def test_statistics_move_once_per_pass_however_often_the_field_is_evaluated(make):
    for gradient in ("backprop", "checkpoint"):
        module = make(SPEC, channels=4, solver=Dopri5(rtol=1e-3, atol=1e-3, gradient=gradient)).train()
        module.step((X, torch.zeros(6, dtype=torch.long)), "train").loss.backward()
        assert norm_of(module).num_batches_tracked == 1
        module.eval()(X)
        module.trajectory(X, 5)
        assert norm_of(module).num_batches_tracked == 1


def test_statistics_move_once_for_each_pass_that_noise_averages():
    module = ResNet(SPEC, channels=4, blocks=1, noise=FeynmanKac(ensemble=3)).train()
    module(X)
    assert norm_of(module).num_batches_tracked == module.passes == 3


def test_a_batch_of_one_trains_while_its_map_has_pixels():
    assert torch.isfinite(NoBlock(SPEC, channels=4, head="batch").train()(X[:1])).all()


@pytest.mark.parametrize(
    ("options", "shape"),
    [({}, (1, 8, 8)), ({"head": "batch", "downsample": 3}, (1, 8, 8))],
    ids=["pooled", "one pixel"],
)
def test_one_number_per_channel_is_refused_in_training_alone(options, shape):
    module = NoBlock(SPEC, channels=4, **options)
    with pytest.raises(UsageError, match="one number per channel") as caught:
        module.train()(torch.randn(1, *shape))
    assert "model.head to batch or group" in caught.value.remedy
    assert torch.isfinite(module.eval()(torch.randn(1, *shape))).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet(SPEC, head="batches"), "unknown read-out 'batches'"),
        (lambda: ResNet(SPEC, head="group", layout=ImageState()), "head belongs to the shared layout"),
        (lambda: ResNet(VectorSpec("made-up", Classes(3), 4), head="group"), "head belongs to images"),
    ],
    ids=["unknown", "layout", "vectors"],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_averaged_weights_come_with_averaged_statistics(tmp_path):
    module = NoBlock(Digits().spec, channels=4)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=3,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[EMAWeightAveraging(decay=0.5)],
    )
    start = norm_of(module).running_mean.clone()
    trainer.fit(module, Digits(batch_size=32, train_limit=96))
    assert not torch.equal(norm_of(module).running_mean, start)
    assert torch.isfinite(module.eval()(X)).all()


@pytest.mark.parametrize("norm", get_args(FieldNorm))
def test_every_norm_of_a_field_is_of_single_samples(norm):
    torch.manual_seed(0)
    field = PreActivationField(4, norm=norm).double()
    torch.nn.init.normal_(field.conv2.conv.weight)
    t, h = torch.tensor(0.0), torch.randn(3, 4, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(field(t, h)[1:2], field(t, h[1:2]), rtol=1e-12, atol=1e-12)


def test_rms_norm_divides_by_the_root_of_the_mean_square_of_a_sample():
    norm = RMSNorm2d(4, eps=0.0).double()
    torch.nn.init.normal_(norm.gain)
    h = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    expected = norm.gain * h / h.flatten(1).square().mean(1).sqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(norm(h), expected, rtol=1e-12, atol=1e-12)


def test_without_a_norm_a_net_starts_as_the_identity():
    module = ResNet(SPEC, channels=4, layout=SharedLayout(norm="none"))
    for block in module.net.dynamics.fields:
        torch.nn.init.zeros_(block.conv2.conv.bias)
    _, ys = module.trajectory(X, 5)
    assert torch.equal(ys[0], ys[-1])


def test_a_norm_for_a_family_with_layers_of_its_own_is_refused():
    with pytest.raises(UsageError, match="layers of its own"):
        ParabolicCNN(SPEC, channels=4, layout=SharedLayout(norm="rms"))
    with pytest.raises(UsageError, match="unknown norm 'layer'"):
        ResNet(SPEC, channels=4, layout=SharedLayout(norm="layer"))
