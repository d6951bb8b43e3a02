"""`integrand sample` and `evaluate` on small random networks of diffusers, written to disk."""

import csv

import pytest
import torch
from PIL import Image
from pipelines import saved

from integrand.cli.main import main
from integrand.diffusion import DDIM, DPMSolverPPMultistep
from integrand.diffusion.pretrained import load_diffusers

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes a network with its scheduler below the working directory, and returns its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTEGRAND_OFFLINE", "1")
    monkeypatch.setenv("INTEGRAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")

    def write(kind, scheduler="DDIMScheduler", **config):
        place = tmp_path / kind
        saved(place, kind, scheduler, channels=1, **config)
        return place

    return write


def sampled(*words):
    assert main(["sample", *map(str, words), "--device", "cpu", "--out", "out"]) == 0


def held(tmp_path):
    (file,) = (tmp_path / "out").glob("*.pt")
    return torch.load(file, weights_only=True)


def test_samples_of_a_folder_are_those_of_python(folder, tmp_path, capsys):
    """With the scheduler's grid and clipping, and with another sampler and prediction."""
    place = folder("UNet2DModel", prediction_type="v_prediction")
    sampled("--pretrained", place, "--n", 3, "--nfe", 6, "--sampler", "dpm_solver_pp_2m")
    found = held(tmp_path)
    expected = load_diffusers(place).sample(3, sampler=DPMSolverPPMultistep(2), nfe=6)
    torch.testing.assert_close(found["samples"], expected.x, rtol=0, atol=1e-6)
    assert found["nfe"] == expected.nfe == 6
    assert "trained elsewhere" in capsys.readouterr().out
    assert (tmp_path / "out").glob("*.png")


def test_an_image_is_edited_as_in_python(folder, tmp_path):
    place = folder("UNet2DModel")
    array = (torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    Image.fromarray(array.numpy()).save("image.png")
    words = ("--image", "image.png", "--strength", 0.5, "--sampler", "ddim", "--nfe", 6)
    sampled("--pretrained", place, "--n", 3, *words)
    image = (array.float() / 127.5 - 1).expand(3, 1, 8, 8)
    expected = load_diffusers(place).edit(image, 0.5, 6, sampler=DDIM())
    found = held(tmp_path)
    torch.testing.assert_close(found["samples"], expected.x, rtol=0, atol=1e-6)
    assert found["nfe"] == expected.nfe == 3


def test_a_model_of_texts_takes_embeddings_in_turn(folder, tmp_path, capsys):
    place = folder("UNet2DConditionModel", clip_sample=False)
    texts = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))
    torch.save(texts, "texts.pt")
    torch.save(torch.zeros(3, 6), "null.pt")
    assert main(["sample", "--pretrained", str(place), "--n", "3", "--device", "cpu"]) == 2
    assert "needs text embeddings, and got none" in capsys.readouterr().err
    files = ("--condition", "texts.pt", "--null", "null.pt")
    sampled("--pretrained", place, "--n", 3, "--nfe", 8, "--guidance", 2, *files)
    expected = load_diffusers(place, null=torch.zeros(3, 6)).sample(
        3, nfe=8, condition=texts[[0, 1, 0]], guidance=2.0
    )
    torch.testing.assert_close(held(tmp_path)["samples"], expected.x, rtol=0, atol=1e-5)


def test_a_dit_in_bfloat16_takes_classes(folder, tmp_path):
    place = folder("DiTTransformer2DModel", clip_sample=False)
    sampled("--pretrained", place, "--n", 2, "--nfe", 4, "--label", 3, "--dtype", "bfloat16")
    found = held(tmp_path)
    assert found["labels"].tolist() == [3, 3]
    assert found["samples"].shape == (2, 2, 8, 8)
    assert found["samples"].dtype == torch.float32
    assert torch.isfinite(found["samples"]).all()


def test_samples_of_a_latent_pipeline_are_images(folder, tmp_path, capsys):
    """Through its own autoencoder, with its scale; editing begins in its latents."""
    place = folder("UNet2DModel")
    sides = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    small = {"block_out_channels": (8, 16), "latent_channels": 1, "norm_num_groups": 4, "scaling_factor": 0.5}
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(in_channels=1, out_channels=1, **sides, **small).eval()
    vae.save_pretrained(place / "vae")
    sampled("--pretrained", place, "--n", 2, "--nfe", 4, "--sampler", "ddim")
    latents = load_diffusers(place).sample(2, sampler=DDIM(), nfe=4).x
    with torch.no_grad():
        expected = vae.decode(latents / 0.5).sample
    assert expected.shape == (2, 1, 16, 16)
    torch.testing.assert_close(held(tmp_path)["samples"], expected, rtol=0, atol=1e-5)
    # compared as images, whose shape is not that of the latents
    words = [
        "evaluate",
        "--pretrained",
        str(place),
        "--data",
        "digits",
        "--with",
        "samples",
        "--device",
        "cpu",
    ]
    assert main(words) == 2
    assert "the model makes samples (1, 16, 16)" in capsys.readouterr().err
    # an autoencoder of other latents
    diffusers.AutoencoderKL(
        in_channels=1, out_channels=1, **sides, **small | {"latent_channels": 2}
    ).save_pretrained(place / "vae")
    assert main(["sample", "--pretrained", str(place), "--device", "cpu"]) == 2
    assert "latents have 2 channels, and the model's samples 1" in capsys.readouterr().err


def test_samplers_are_compared_on_it(folder, tmp_path, capsys):
    place = folder("UNet2DModel")
    command = ["evaluate", "--pretrained", str(place), "--data", "digits", "--with", "samples"]
    options = [
        "--samples.samplers",
        "[ddim,unipc,sa_solver,pndm]",
        "--samples.nfe",
        "6",
        "--samples.n",
        "16",
        "--device",
        "cpu",
    ]
    assert main([*command, *options]) == 0
    said = capsys.readouterr()
    (table,) = (tmp_path / "evaluations").rglob("samples.csv")
    rows = list(csv.DictReader(table.open()))
    assert {row["sampler"] for row in rows} == {"ddim", "unipc", "sa_solver"}
    assert all(float(row["sample_nfe"]) <= 6 for row in rows)
    assert any(name.startswith("FD-") for name in rows[0])
    assert "left out: pndm needs at least NFE 13" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "--pretrained", "nowhere"], "there is no folder nowhere"),
        (["sample", "--pretrained", "."], "name a folder that save_pretrained wrote"),
        (["sample", "--pretrained", "some.one/model-1"], "some.one/model-1: "),
        (["sample", "--pretrained", "UNet2DModel", "--image", "texts.pt"], "cannot be read as an image"),
        (["evaluate", "--pretrained", "UNet2DModel", "--with", "samples"], "nothing to compare its samples with"),
        (["evaluate", "--pretrained", "UNet2DModel", "--data", "FashionMini", "--with", "samples"], "holds (1, 28, 28)"),
        (["sample", "--pretrained", "UNet2DModel", "--guidance", "2"], "unconditional"),
        (["sample", "--pretrained", "UNet2DModel", "--condition", "texts.pt"], "takes no embeddings"),
        (["sample", "--pretrained", "UNet2DModel", "--null", "UNet2DModel/model_index.json"], "write it by torch.save"),
        (["sample", "--run", "latest", "--dtype", "bfloat16"], "--dtype belongs to --pretrained"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(words, message, folder, capsys):
    folder("UNet2DModel")
    torch.save(torch.zeros(2, 3, 6), "texts.pt")
    assert main([*words, "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
