"""Images of the user's own are measured as those of published sets: the same pixels give the same numbers."""

import numpy as np
import pytest
import torch
from PIL import Image

from integrand.datamodules.images.digits import Digits
from integrand.datamodules.own.arrays import Arrays
from integrand.datamodules.own.csv_table import CSVTable
from integrand.datamodules.own.image_folder import ImageFolder
from integrand.errors import UsageError
from integrand.evaluations.adversarial import Adversarial
from integrand.evaluations.calibration import Calibration
from integrand.evaluations.corrupted import KINDS, corrupt
from integrand.evaluations.corruption import Corruptions
from integrand.evaluations.ood import OutOfDistribution
from integrand.evaluations.other_images import other
from integrand.evaluations.solver import OtherSolvers
from integrand.modules import NeuralODE, NoBlock, ResNet
from integrand.solvers import RK4


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Digits, and the same digits in a file of one's own; both scaled to [0, 1]."""
    digits = Digits(normalise="unit", val_size=100)
    digits.setup()
    file = tmp_path_factory.mktemp("own") / "mine.npz"
    parts = {}
    for part, (images, labels) in digits._splits.items():
        parts |= {f"x_{part}": images[:, 0].numpy().astype(np.float32) / 16, f"y_{part}": labels.numpy()}
    np.savez(file, **parts)
    return digits, Arrays(str(file), normalise="unit")


@pytest.mark.parametrize(
    "evaluation",
    [
        Calibration,
        lambda: Corruptions(["shot_noise", "fog"], n=40),
        lambda: Adversarial(steps=2, n=20, checks=False),
        lambda: OutOfDistribution("fashion-mini", n=40),
    ],
)
def test_the_same_images_give_the_same_numbers(twins, evaluation):
    digits, mine = twins
    torch.manual_seed(0)
    model = ResNet(digits.spec, channels=4, blocks=1).eval()
    found = []
    for data in (digits, mine):
        made = evaluation()
        assert made.fits(model, data) == ""
        found.append([(f.label, f.quantities) for f in made.measure(model, data)])
    assert [label for label, _ in found[0]] == [label for label, _ in found[1]]
    for (_, published), (_, own) in zip(*found, strict=True):
        assert own == pytest.approx(published, rel=1e-5)  # sums of batches of other sizes in float32


def test_other_solvers_are_tried_on_ones_own_images(twins):
    digits, mine = twins
    torch.manual_seed(0)
    model = NeuralODE(digits.spec, channels=4, solver=RK4(num_steps=2)).eval()
    evaluation = OtherSolvers(refine=[1])
    assert evaluation.fits(model, mine) == ""
    published, own = (next(evaluation.measure(model, data)).quantities for data in twins)
    assert own.pop("final/test_loss") == pytest.approx(published.pop("final/test_loss"), rel=1e-5)
    assert own == published


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of colour pictures of two classes and different sizes."""
    folder = tmp_path_factory.mktemp("pictures") / "shapes"
    random = np.random.default_rng(0)
    for i in range(40):
        kind = folder / ("dark", "bright")[i % 2]
        kind.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 120, (12 + i % 3, 14, 3)) + 130 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(kind / f"{i}.png")
    return folder


def test_pictures_of_a_folder_are_measured_by_every_evaluation(pictures):
    data = ImageFolder(str(pictures), side=10)
    pixels = torch.rand(3, 3, 10, 10)
    assert torch.allclose(data.denormalise(data.scaled(pixels)), pixels, atol=1e-6)
    torch.manual_seed(0)
    model = NoBlock(data.spec, channels=4).eval()
    for evaluation in (Corruptions(["pixelate"]), Adversarial(steps=2), Calibration(), OutOfDistribution()):
        assert evaluation.fits(model, data) == ""
        found = list(evaluation.measure(model, data))
        assert not [f.error for f in found if f.error]
        assert all(np.isfinite(value) for f in found for value in f.quantities.values())


def test_a_set_of_ones_own_that_is_the_known_one_cannot_be_told_apart(twins, tmp_path):
    """Equal scores on either side: the area is one half, whatever the scale of the file."""
    _, mine = twins
    (images, _), copy = mine.some("test", 360), tmp_path / "copy.npz"
    np.savez(copy, x=(255 * images[:, 0]).numpy().round().astype(np.uint8))
    scaled = Arrays(mine.path, normalise="standard")
    torch.manual_seed(0)
    model = ResNet(scaled.spec, channels=4, blocks=1).eval()
    found = list(OutOfDistribution(str(copy)).measure(model, scaled))
    assert [f.settings["set"] for f in found] == ["copy", "copy"]
    for f in found:
        assert f.quantities["other_samples"] == 360
        # bytes round sixteenths by 1/510
        assert f.quantities["auroc"] == pytest.approx(0.5, abs=0.005)


def test_pictures_are_decoded_in_the_shape_of_the_known_ones(pictures, twins):
    _, mine = twins
    assert other(str(pictures), mine, resize=False).images(mine, 100).shape == (40, 1, 8, 8)
    published = Digits()
    assert other(str(pictures), published, resize=False).images(published, 7).shape == (7, 1, 8, 8)


def test_other_sets_of_ones_own_that_do_not_fit_are_refused_in_a_line(twins, tmp_path):
    _, mine = twins
    random = np.random.default_rng(0)
    np.savez(tmp_path / "wide.npz", x=random.random((20, 8, 9)))
    np.savez(tmp_path / "signed.npz", x=random.normal(size=(20, 8, 8)))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n" * 10)
    for path, words in {
        mine.path: "is what the model was trained on",
        str(tmp_path / "wide.npz"): "have shape",
        str(tmp_path / "signed.npz"): "its pixels lie between -",
        str(tmp_path / "table.csv"): "holds no images",
        str(tmp_path / "none.npz"): "there is no such file or folder",
    }.items():
        with pytest.raises(UsageError, match=words):
            other(path, mine, resize=False)
    assert other(str(tmp_path / "wide.npz"), mine, resize=True).images(mine, 5).shape == (5, 1, 8, 8)


def test_images_whose_white_nobody_knows_are_refused(tmp_path):
    signed, table = tmp_path / "signed.npz", tmp_path / "table.csv"
    np.savez(signed, x=np.random.default_rng(0).normal(size=(20, 8, 8)), y=np.arange(20) % 2)
    table.write_text("a,b\n" + "1,x\n2,y\n" * 20)
    for data, words in (
        (Arrays(str(signed)), "its pixels lie between -"),
        (CSVTable(str(table), target="b"), "holds no images"),
    ):
        model = NoBlock(data.spec, channels=4)
        for evaluation in (OutOfDistribution, Corruptions, Adversarial):
            assert words in evaluation.fits(model, data)
        assert Calibration.fits(model, data) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_not_square_are_corrupted(kind):
    images = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    made = corrupt(images, kind, 3)
    assert made.shape == images.shape
    assert 0 <= made.min() <= made.max() <= 1
    assert not torch.equal(made, images)
