"""Small random networks of diffusers, written to disk, read back and sampled as diffusers samples them."""

import importlib

import pytest
import torch
from pipelines import network, saved

from integrand.diffusion import (
    DDIM,
    EDM,
    VP,
    Clip,
    DataPrediction,
    Denoiser,
    DiscreteVP,
    DPMSolverPPMultistep,
    DynamicThreshold,
    EDMPreconditioning,
    Guidance,
    LogSNRGrid,
    NoisePrediction,
    SampleNoise,
    Stream,
    UniPC,
    VelocityPrediction,
)
from integrand.diffusion.pretrained import load_diffusers
from integrand.diffusion.pretrained.scheduler import read_scheduler
from integrand.errors import UsageError

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def condition_of(kind, n):
    if kind == "UNet2DConditionModel":
        return torch.randn(n, 3, 6, generator=torch.Generator().manual_seed(1))
    return torch.tensor([0, 4, 2][:n]) if kind == "DiTTransformer2DModel" else None


@torch.no_grad()
def diffusers_loop(model, made, x, steps, named):
    made.set_timesteps(steps)
    x = x * getattr(made, "init_noise_sigma", 1.0)
    scaled = getattr(made, "scale_model_input", lambda x, t: x)  # flow matching has none
    for t in made.timesteps:
        output = model(scaled(x, t), t.expand(len(x)), **named).sample[:, :2]
        x = made.step(output, t, x).prev_sample
    return x


CASES = [
    ("UNet2DModel", "DDIMScheduler", {"clip_sample": False}, DDIM()),
    ("UNet2DModel", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}, DDIM()),
    ("UNet2DModel", "DPMSolverMultistepScheduler", {"prediction_type": "sample", "beta_schedule": "squaredcos_cap_v2"}, DPMSolverPPMultistep(2)),
    ("UNet2DModel", "DPMSolverMultistepScheduler", {"timestep_spacing": "trailing", "solver_order": 3}, DPMSolverPPMultistep(3)),
    ("UNet2DModel", "EulerDiscreteScheduler", {"use_karras_sigmas": True}, DDIM()),
    ("UNet2DConditionModel", "UniPCMultistepScheduler", {"timestep_spacing": "trailing"}, UniPC(2)),
    ("UNet2DModel", "FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, DDIM()),
    ("UNet2DModel", "FlowMatchEulerDiscreteScheduler", {"use_karras_sigmas": True}, DDIM()),
    ("DiTTransformer2DModel", "DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}, DDIM()),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "scheduler", "config", "sampler"), CASES)
def test_samples_are_diffusers(kind, scheduler, config, sampler, tmp_path):
    """Process, prediction, times and end of the config, and the network's own arguments."""
    model, made = saved(tmp_path, kind, scheduler, **config)
    found = load_diffusers(tmp_path)
    condition = condition_of(kind, 3)
    x = SampleNoise(0, (3, 2, 8, 8)).normals(0, Stream.PRIOR)
    named = {} if condition is None else {found.denoiser.network.condition: condition}
    theirs = diffusers_loop(model, made, x, 10, named)
    ours = found.sample(3, sampler=sampler, steps=10, condition=condition)
    assert ours.nfe == 10
    # float32 on both sides; the last α of a cosine table has few digits, and Euler's start σ₀ ε instead of
    # √(1 + σ₀²) ε is 2e-5 smaller
    torch.testing.assert_close(ours.x, theirs, rtol=0, atol=3e-5 * float(theirs.abs().max()))


@torch.no_grad()
def test_image_to_image_is_diffusers(tmp_path):
    """Their pipelines begin at step N − ⌊N s⌋ of the timesteps, from add_noise."""
    model, made = saved(tmp_path, "UNet2DModel", clip_sample=False, timestep_spacing="trailing")
    found, image = load_diffusers(tmp_path), torch.linspace(-1, 1, 128).view(1, 2, 8, 8).repeat(3, 1, 1, 1)
    made.set_timesteps(10)
    kept = made.timesteps[10 - 4 :]
    x = made.add_noise(image, SampleNoise(0, image.shape).normals(0, Stream.PRIOR), kept[:1])
    for t in kept:
        x = made.step(model(x, t.expand(3)).sample, t, x).prev_sample
    ours = found.edit(image, 0.45, 10, sampler=DDIM())
    assert ours.nfe == 4
    # float32, as above
    torch.testing.assert_close(ours.x, x, rtol=0, atol=3e-5)
    with pytest.raises(UsageError, match=r"leaves \(0, 1\]"):
        found.edit(image, 0.0, 10)
    with pytest.raises(UsageError, match="for a model of"):
        found.edit(image[:, :1], 0.5, 10)


def test_half_precision_and_guidance(tmp_path):
    saved(tmp_path, "UNet2DConditionModel", clip_sample=False)
    null = torch.zeros(3, 6)
    condition = condition_of("UNet2DConditionModel", 3)
    exact = load_diffusers(tmp_path, null=null)
    half = load_diffusers(tmp_path, null=null, dtype=torch.bfloat16)
    assert next(half.denoiser.parameters()).dtype == torch.bfloat16
    options = {"sampler": DDIM(), "steps": 6, "condition": condition, "guidance": Guidance(3.0, rescale=0.7)}
    a, b = exact.sample(3, **options), half.sample(3, **options)
    assert a.nfe == b.nfe == 12
    assert b.x.dtype == torch.float32
    # 8 bits, six steps, weight 3
    assert float((a.x - b.x).abs().max()) < 6 * 3 * 2**-8 * float(a.x.abs().max())
    plain = exact.sample(3, sampler=DDIM(), steps=6, condition=condition)
    assert float((plain.x - a.x).abs().max()) > 1e-3


def test_a_dit_has_a_class_for_none(tmp_path):
    saved(tmp_path, "DiTTransformer2DModel", clip_sample=False)
    found = load_diffusers(tmp_path)
    assert found.denoiser.null == 5
    assert found.shape == (2, 8, 8)
    assert torch.isfinite(found.sample(2, nfe=8, condition=torch.tensor([0, 1]), guidance=2.0).x).all()


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"_class_name": "DDIMScheduler"}, Clip),
        ({"_class_name": "DDPMScheduler", "thresholding": True, "sample_max_value": 2.0}, DynamicThreshold),
        ({"_class_name": "DPMSolverMultistepScheduler"}, type(None)),
    ],
)
def test_constraints_follow_the_class_and_its_defaults(config, kind):
    assert isinstance(read_scheduler(config).constraint, kind)


def test_what_a_config_says():
    v = read_scheduler({"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction"})
    assert isinstance(v.parametrisation, VelocityPrediction)
    edm = read_scheduler(
        {"_class_name": "EDMEulerScheduler", "sigma_data": 0.7, "prediction_type": "v_prediction"}
    )
    assert isinstance(edm.process, EDM)
    assert isinstance(edm.parametrisation, EDMPreconditioning)
    assert (edm.parametrisation.sigma_data, edm.negated) == (0.7, True)
    silent = read_scheduler({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True}).process
    assert silent.node(1.0).alpha == 0
    ours, theirs = DiscreteVP("scaled-linear"), read_scheduler({"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear"}).process  # fmt: skip
    t = torch.linspace(0.001, 1, 33, dtype=torch.float64)
    torch.testing.assert_close(theirs.alpha(t), ours.alpha(t), rtol=1e-5, atol=0)


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="name a folder that save_pretrained wrote"):
        load_diffusers(tmp_path / "nothing")
    network("UNet2DModel").save_pretrained(tmp_path / "net")
    with pytest.raises(UsageError, match="a network without a scheduler"):
        load_diffusers(tmp_path / "net")
    found = load_diffusers(tmp_path / "net", scheduler={"_class_name": "DDPMScheduler"})
    assert isinstance(found.denoiser.parametrisation, NoisePrediction)
    for config in ({"_class_name": "ScoreSdeVeScheduler"}, {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}):  # fmt: skip
        with pytest.raises(UsageError, match="no counterpart here"):
            load_diffusers(tmp_path / "net", scheduler=config)
    with pytest.raises(UsageError, match="diffusers has no scheduler 'Nothing'"):
        load_diffusers(tmp_path / "net", scheduler={"_class_name": "Nothing"})
    module = importlib.import_module("integrand.diffusion.pretrained.library")
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(UsageError, match=r"integrand\[diffusers\]"):
        module.require_diffusers()


def test_a_plain_function_is_a_network():
    """x_0 = 0.3 predicted everywhere: every sampler ends there."""
    process = VP()
    model = Denoiser(lambda x, label: 0.3 + 0 * x * label.view(-1, 1), process, DataPrediction())
    out = DDIM().sample(model, process, LogSNRGrid(to_zero=True), torch.randn(3, 2), steps=4).x
    torch.testing.assert_close(out, torch.full((3, 2), 0.3))
