"""Training in the latents of a frozen encoder: the same as without one where it changes nothing."""

import copy

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from torch.distributions import Normal, kl_divergence
from torch.utils.data import DataLoader

from integrand.datamodules import Digits
from integrand.errors import UsageError
from integrand.modules.generative.autoencoder import Autoencoder, kl
from integrand.modules.generative.backbones import UNet
from integrand.modules.generative.consistency import ConsistencyModel
from integrand.modules.generative.diffusion import DiffusionModel
from integrand.modules.generative.encoders import DiffusersVAE, TrainedAutoencoder
from integrand.modules.generative.encoders.base import STATE, Encoder, encoder_of
from integrand.modules.generative.flow_matching import FlowMatching
from integrand.modules.generative.mean_flow import MeanFlow
from integrand.modules.generative.rectified_flow import RectifiedFlow
from integrand.solvers import Euler
from integrand.spec import Classes, Density, ImageSpec, VectorSpec

IMAGES = ImageSpec("made-up", Classes(3), (1, 8, 8), bin_widths=(0.125,))
POINTS = VectorSpec("made-up", Density(), 2)
SMALL = {"channels": 8, "multipliers": [1, 2], "latent_channels": 3, "groups": 4}
NET = {"channels": 8, "multipliers": [1], "blocks": 1, "attention": False}


class Affine(Encoder):
    """z = (x − shift) · scale; the identity by default."""

    def __init__(self, scale=1.0, shift=0.0):
        self.scale, self.shift = scale, shift

    @property
    def digest(self):
        return f"affine {self.scale} {self.shift}"

    def latents(self, spec):
        return spec

    def encode(self, x):
        return (x - self.shift) * self.scale

    def decode(self, z):
        return z / self.scale + self.shift


def images(n=16, seed=0):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def trained(family, spec, steps=3, **options):
    """A model after a few steps of gradient descent on seeded data and draws."""
    torch.manual_seed(0)
    module = family(spec, **options).train()
    optimizer = torch.optim.SGD(module.net.parameters(), lr=0.1)
    x = images() if spec is IMAGES else torch.randn(16, 2)
    for _ in range(steps):
        optimizer.zero_grad()
        module.step((x, torch.zeros(len(x), dtype=torch.long)), "train").loss.backward()
        optimizer.step()
        module.average.update_parameters(module.net)
    return module


def autoencoder(**options):
    """One with a measured spread, as a fit leaves it."""
    torch.manual_seed(1)
    module = Autoencoder(IMAGES, **SMALL, **options)
    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    trainer.validate(module, DataLoader(list(images(20)), batch_size=8), verbose=False)
    return module


def saved(module, path, **options):
    """A checkpoint as a fit leaves it."""
    config = {"model": {"class_path": type(module).__name__, "init_args": options}, "data": {}}
    contents = {
        "config": yaml.safe_dump(config),
        "spec": module.spec.to_dict(),
        "family": module.family,
    }
    torch.save({"state_dict": module.state_dict(), "integrand": contents}, path)
    return str(path)


@pytest.fixture
def encoder(tmp_path):
    """The latents of a small autoencoder, (3, 4, 4)."""
    return TrainedAutoencoder(saved(autoencoder(), tmp_path / "autoencoder.ckpt", **SMALL))


@pytest.mark.parametrize("family", [FlowMatching, DiffusionModel, ConsistencyModel, MeanFlow])
@pytest.mark.parametrize("spec", [IMAGES, POINTS], ids=["images", "points"])
def test_the_identity_changes_nothing(family, spec):
    """Bit by bit: weights, average, samples, and the draws in between."""
    options = {"backbone": UNet(**NET | {"groups": 4})} if spec is IMAGES else {}
    plain = trained(family, spec, **options)
    coded = trained(family, spec, encoder=Affine(), **options)
    theirs = coded.state_dict()
    assert encoder_of(theirs) == "affine 1.0 0.0"
    del theirs[STATE]
    assert theirs.keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    assert torch.equal(coded.sample(3, seed=1).x, plain.sample(3, seed=1).x)


def test_a_scale_is_undone_exactly():
    """A model of latents (x − 3)/4 that knows the Gaussian there samples x itself: powers of two do not round."""
    plain = FlowMatching(POINTS, ema=None)
    coded = copy.deepcopy(plain)
    coded.encoder = Affine(scale=0.25, shift=3.0)
    how = Euler(num_steps=3)
    made = plain.sample(5, sampler=how).x
    assert torch.equal(coded.sample(5, sampler=how).x, 4 * made + 3)
    x = torch.randn(5, 2)
    torch.testing.assert_close(coded.encoder.decode(coded.encoded(x)), x)
    assert torch.equal(coded.encoded(x), (x - 3) / 4)


def test_the_divergence_is_that_of_torch():
    mean, log_std = (torch.randn(4, 3, 2, 2, dtype=torch.float64) for _ in range(2))
    expected = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).flatten(1).sum(dim=1)
    torch.testing.assert_close(kl(mean, log_std), expected)


def test_the_loss_of_an_autoencoder_is_its_bound():
    """β = 1 and a decoder of variance ½: squared error + KL, summed over an image, here per dimension."""
    module = autoencoder(beta=1.0).eval()
    x = images(6)
    outcome = module.step(x, "val")
    mean, log_std = module.net.posterior(x)
    error = (module.net.decode(mean) - x).square().flatten(1).sum(dim=1)
    torch.testing.assert_close(outcome.loss, (error + kl(mean, log_std)).mean() / 64)
    torch.manual_seed(3)
    first = module.step(x, "train").loss
    torch.manual_seed(3)
    assert torch.equal(module.step(x, "train").loss, first)
    # training draws from the posterior
    assert not torch.equal(module.step(x, "train").loss, first)


def test_latents_of_the_validation_images_have_mean_0_and_variance_1(encoder):
    z = encoder.encode(images(20)).double()
    assert z.shape == (20, 3, 4, 4)
    # float32 sums of 960 numbers
    assert abs(float(z.mean())) < 1e-5
    assert abs(float(z.square().mean()) - 1) < 1e-5
    raw = encoder.mean(images(20))
    assert abs(float(raw.std()) - 1) > 1e-2  # it is the scaling that does it
    torch.testing.assert_close(encoder.decode(z.float()), encoder.image(raw), rtol=1e-4, atol=1e-5)


def test_an_encoder_is_neither_trained_nor_averaged_nor_saved(encoder):
    before = copy.deepcopy(encoder.net.state_dict())
    options = {"encoder": encoder, "backbone": UNet(**NET | {"groups": 4})}
    module = trained(DiffusionModel, IMAGES, **options)
    assert module.shape == module.modelled.input_shape == (3, 4, 4)
    assert module.modelled.bin_widths == ()
    assert module.spec is IMAGES
    inside = {id(p) for p in encoder.net.parameters()}
    assert not inside & {id(p) for p in module.parameters()}
    assert not any(p.requires_grad for p in encoder.net.parameters())
    assert not encoder.net.training
    alone = trained(
        DiffusionModel, ImageSpec("l", Classes(3), (3, 4, 4)), steps=0, backbone=options["backbone"]
    )
    assert module.state_dict().keys() - alone.state_dict().keys() == {STATE}
    for name, value in encoder.net.state_dict().items():
        assert torch.equal(value, before[name])


def test_samples_are_decoded_and_evaluation_sees_images(encoder):
    options = {"encoder": encoder, "backbone": UNet(**NET | {"groups": 4})}
    module = trained(FlowMatching, IMAGES, **options)
    made = module.sample(3, batch_size=2, sampler=Euler(num_steps=2))
    assert made.x.shape == (3, 1, 8, 8)
    noise = torch.stack([module.sample(1, start=i, sampler=Euler(num_steps=2)).x[0] for i in range(3)])
    torch.testing.assert_close(made.x, noise, rtol=1e-4, atol=1e-5)
    outcome = module.eval().step((images(4), torch.zeros(4)), "test")
    assert outcome.inputs.shape == (4, 1, 8, 8)
    # the density of latents is no density of images
    module.true_log_density = lambda x: None  # it asks the trainer's data
    assert set(module.extra_scores(images(4), images(4), "test")) == {"latent_nll", "nll_samples", "nll_nfe"}
    diffusion = DiffusionModel(IMAGES, **options)
    diffusion.true_log_density = lambda x: None  # it asks the trainer's data
    scores = diffusion.extra_scores(images(4), images(4), "test")
    assert set(scores) == {"latent_nll", "nll_samples", "nll_nfe"}


def test_weights_of_other_latents_are_refused(encoder, tmp_path):
    options = {"backbone": UNet(**NET | {"groups": 4}), "ema": None}
    module = FlowMatching(IMAGES, encoder=encoder, **options)
    state = module.state_dict()
    FlowMatching(IMAGES, encoder=encoder, **options).load_state_dict(state)
    other = copy.copy(encoder)
    other._digest = "another"
    with pytest.raises(UsageError, match=f"with encoder {encoder.digest}, and model.encoder is another"):
        FlowMatching(IMAGES, encoder=other, **options).load_state_dict(state)
    path = saved(module, tmp_path / "flow.ckpt")
    RectifiedFlow(IMAGES, encoder=encoder, teacher=path, **options)
    with pytest.raises(UsageError, match=r"and model\.encoder is none"):
        RectifiedFlow(ImageSpec("l", Classes(3), (3, 4, 4)), teacher=path, **options)


def test_data_that_do_not_fit_are_refused(encoder, tmp_path):
    for shape, what in (((3, 8, 8), "3×8×8"), ((1, 7, 8), "1×7×8")):
        with pytest.raises(UsageError, match=f"multiples of 2, and made-up has {what}"):
            FlowMatching(ImageSpec("made-up", Density(), shape), encoder=encoder)
    with pytest.raises(UsageError, match="takes images, and made-up holds vectors"):
        FlowMatching(POINTS, encoder=encoder)
    fresh = saved(Autoencoder(IMAGES, **SMALL), tmp_path / "fresh.ckpt", **SMALL)
    with pytest.raises(UsageError, match="never validated"):
        TrainedAutoencoder(fresh)
    flow = saved(FlowMatching(POINTS, ema=None), tmp_path / "flow.ckpt", ema=None)
    with pytest.raises(UsageError, match="holds a FlowMatching, which is no Autoencoder"):
        TrainedAutoencoder(flow)
    with pytest.raises(UsageError, match="cannot be halved 2 times"):
        Autoencoder(ImageSpec("made-up", Density(), (1, 6, 6)))
    with pytest.raises(UsageError, match="make no network"):
        Autoencoder(IMAGES, channels=10)
    with pytest.raises(UsageError, match="beta must be 0 or more"):
        Autoencoder(IMAGES, beta=-1.0)


def test_an_autoencoder_learns_to_return_digits():
    """Half the error of the mean image after 40 steps; without a path for the signal it would stay above 1."""
    torch.manual_seed(0)
    data = Digits(normalise="symmetric", batch_size=128, augment=None)
    data.prepare_data()
    data.setup("fit")
    x = next(iter(data.train_dataloader()))[0]
    module = Autoencoder(data.spec, channels=16, multipliers=[1, 2]).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        module.step(x, "train").loss.backward()
        optimizer.step()
    spread = float((x - x.mean(dim=0)).square().mean())
    assert float(module.eval().step(x, "val").scores["mse"]) < 0.5 * spread


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A small autoencoder of diffusers on disk, and itself."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    net = diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        latent_channels=2,
        norm_num_groups=4,
        scaling_factor=0.4,
        shift_factor=0.1,
    ).eval()
    folder = tmp_path_factory.mktemp("vae")
    net.save_pretrained(folder / "vae")
    return folder, net


@torch.no_grad()
def test_the_autoencoder_of_diffusers_is_read_with_its_scale(vae):
    folder, net = vae
    encoder = DiffusersVAE(str(folder))
    assert DiffusersVAE(str(folder / "vae")).digest == encoder.digest
    assert encoder.latents(IMAGES).input_shape == (2, 4, 4)
    x = images(5)
    z = (net.encode(x).latent_dist.mean - 0.1) * 0.4
    torch.testing.assert_close(encoder.encode(x), z)
    torch.testing.assert_close(encoder.decode(z), net.decode(z / 0.4 + 0.1).sample)
    module = FlowMatching(IMAGES, encoder=encoder)
    assert module.sample(2).x.shape == (2, 1, 8, 8)


def test_folders_without_an_autoencoder_are_refused(vae, tmp_path):
    folder, _ = vae
    with pytest.raises(UsageError, match="holds no autoencoder"):
        DiffusersVAE(str(tmp_path))
    text = (folder / "vae" / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace("AutoencoderKL", "AutoencoderTiny"))
    with pytest.raises(UsageError, match="holds AutoencoderTiny"):
        DiffusersVAE(str(tmp_path))
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"save_pretrained"):
        DiffusersVAE(str(tmp_path))
