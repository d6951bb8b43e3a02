"""Corruptions: determined by seed and number, worse with every severity; the evaluation on digits."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from integrand.datamodules.images.digits import Digits
from integrand.datamodules.images.fashion_mini import FashionMini
from integrand.errors import UsageError
from integrand.evaluations.corrupted import KINDS, SEVERITIES, corrupt
from integrand.evaluations.corrupted.sampling import disk, displaced
from integrand.evaluations.corruption import Corruptions
from integrand.evaluations.other_images import fitted


@pytest.fixture(scope="module")
def images():
    """Images of the three sizes, in [0, 1]: digits, clothes, and clothes in colour."""
    digits, clothes = (cls(normalise="unit").some("test", 48)[0] for cls in (Digits, FashionMini))
    colour = fitted(clothes, (3, 32, 32)) * torch.tensor([1.0, 0.7, 0.4]).view(1, 3, 1, 1)
    return {8: digits, 28: clothes, 32: colour}


@pytest.mark.parametrize("side", [8, 28, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_the_distance_to_the_clean_image_grows_with_the_severity(kind, side, images):
    x = images[side]
    changed = [corrupt(x, kind, severity) for severity in SEVERITIES]
    for y in changed:
        assert y.shape == x.shape
        assert y.min() >= 0
        assert y.max() <= 1
    distances = [float((y - x).square().mean().sqrt()) for y in changed]
    assert distances[0] > 0.005
    assert all(b > 1.02 * a for a, b in itertools.pairwise(distances))


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_depends_on_seed_and_number_alone(kind, images):
    x = images[28][:4]
    whole = corrupt(x, kind, 3, seed=1)
    # alone an image is reduced in another order: rounding
    torch.testing.assert_close(corrupt(x[2:3], kind, 3, seed=1, first=2), whole[2:3], atol=1e-5, rtol=0)
    assert torch.equal(corrupt(x, kind, 3, seed=1), whole)
    same = x[:1].expand(2, -1, -1, -1)
    one, two = corrupt(same, kind, 3)
    fixed = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    assert torch.allclose(one, two, atol=1e-5) == (kind in fixed)


def test_shot_noise_has_the_moments_of_counts():
    x = torch.full((4, 1, 256, 256), 0.5)
    counts = 50 * corrupt(x, "shot_noise", 5).double()
    mean = 25  # of a Poisson law; its variance too, and its third central moment
    n = counts.numel()
    assert float(counts.mean()) == pytest.approx(mean, abs=4 * (mean / n) ** 0.5)
    # rounding to whole counts adds 1/12; the tail above white, 5 deviations away, is cut
    assert float(counts.var()) == pytest.approx(mean + 1 / 12, rel=0.01)
    skewed = float((counts - mean).pow(3).mean())
    assert skewed == pytest.approx(mean, rel=0.15)
    assert not corrupt(torch.zeros(1, 1, 8, 8), "shot_noise", 5).any()


def test_impulses_hit_the_share_that_is_said():
    x = torch.full((1, 1, 300, 300), 0.5)
    y = corrupt(x, "impulse_noise", 4)
    assert set(y.unique().tolist()) == {0.0, 0.5, 1.0}
    for colour in (0.0, 1.0):
        assert float((y == colour).double().mean()) == pytest.approx(0.025, abs=0.003)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_agrees_with_an_encoder(mode, images):
    x = images[28][:1] if mode == "L" else images[32][:1]
    x = x[..., :24, :24]  # whole blocks: how the last ones are filled is the encoder's own choice
    array = (255 * x[0]).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(array.squeeze(-1) if mode == "L" else array, mode).save(
        file, "jpeg", quality=40, subsampling=0
    )
    theirs = np.asarray(Image.open(file)).reshape(array.shape).astype(float)
    ours = 255 * corrupt(x, "jpeg_compression", 5)[0].permute(1, 2, 0).double().numpy()
    # their transforms round to whole numbers in between
    assert np.abs(ours - theirs).mean() < 1
    assert np.abs(array - theirs).mean() > 2 * np.abs(ours - theirs).mean()


def test_contrast_and_brightness_by_hand():
    x = torch.tensor([[[[0.0, 1.0]]]]).expand(1, 1, 8, 2).repeat(1, 1, 1, 4)
    assert corrupt(x, "contrast", 2).unique().tolist() == [0.25, 0.75]
    assert corrupt(0.5 * x, "brightness", 2).unique().tolist() == pytest.approx([0.1, 0.6])


def test_a_displacement_by_whole_pixels_is_a_shift(images):
    x = images[28]
    moved = displaced(x, torch.tensor(2.0), torch.tensor(-1.0))
    torch.testing.assert_close(moved[..., :-2, 1:], x[..., 2:, :-1], atol=1e-5, rtol=0)


def test_a_disk_is_smooth_and_symmetric():
    kernel = disk(1.3)
    assert float(kernel.sum()) == pytest.approx(1)
    torch.testing.assert_close(kernel, kernel.T)
    assert kernel[len(kernel) // 2, len(kernel) // 2] == kernel.max()


def test_what_cannot_be_corrupted_is_refused():
    x = torch.zeros(1, 1, 8, 8)
    with pytest.raises(UsageError, match="no corruption 'frogs', did you mean"):
        corrupt(x, "frogs", 1)
    with pytest.raises(UsageError, match="no severity 6"):
        corrupt(x, "fog", 6)
    with pytest.raises(UsageError, match="too small"):
        corrupt(x[..., :4], "fog", 1)
    with pytest.raises(UsageError, match="no corruption 'rain'"):
        Corruptions(kinds="rain")


def test_the_evaluation_counts_what_the_network_gets_wrong(digits_net):
    model, data = digits_net
    evaluation = Corruptions(kinds=["gaussian_noise", "contrast"], n=100, seed=3)
    (found,) = evaluation.measure(model, data)
    x, y = next(iter(data.test_dataloader()))
    with torch.no_grad():
        wrong = [
            float(
                (
                    model(data.scaled(corrupt(data.denormalise(x[:100]), "contrast", s, 3))).argmax(1)
                    != y[:100]
                )
                .double()
                .mean()
            )
            for s in SEVERITIES
        ]
        clean = float((model(x[:100]).argmax(1) != y[:100]).double().mean())
    assert found.quantities["corruption_error_contrast"] == pytest.approx(sum(wrong) / 5)
    assert found.quantities["clean_error"] == pytest.approx(clean)
    by_severity = [found.quantities[f"corruption_error_severity_{s}"] for s in SEVERITIES]
    assert found.quantities["corruption_error"] == pytest.approx(sum(by_severity) / 5)
    table = evaluation.summary([found]).tables["corruption"]
    assert [row["severity 5"] for row in table if row["kind"] == "contrast"] == [wrong[-1]]
    assert found.cost["sample_nfe"] == 2


def test_images_keep_their_numbers_over_batches(digits_net):
    model, _ = digits_net
    found = [
        next(Corruptions(kinds="impulse_noise").measure(model, Digits(eval_batch_size=size))).quantities
        for size in (360, 100)
    ]
    assert found[0] == found[1]
