"""Streams in the plane: what a point depends on, and densities that are those of the points."""

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from scipy.integrate import dblquad
from scipy.stats import kstest

import integrand.datamodules as dm
from integrand.cli.data import run
from integrand.datamodules.densities.stream import BLOCK, points
from integrand.errors import UsageError
from integrand.spec import Density

CLASSES = [dm.load_class(c) for c in dm.cards().values() if c.group == "densities"]
KNOWN = [c for c in CLASSES if c.exact_log_density(np.zeros((1, 2))) is not None]
every_density = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.card.name)
every_known_density = pytest.mark.parametrize("cls", KNOWN, ids=lambda c: c.card.name)


def epochs(module, number):
    loader = module.train_dataloader()
    return [torch.cat(list(loader)) for _ in range(number)]


def test_there_are_six_and_three_have_a_density():
    assert len(CLASSES) == 6
    assert {c.card.name for c in KNOWN} == {"eight-gaussians", "checkerboard", "circles"}


@every_density
def test_batches_are_points_of_the_declared_shape(cls):
    module = cls(batch_size=30, train_size=100)
    batches = list(module.train_dataloader())
    assert [len(b) for b in batches] == [30, 30, 30, 10]
    assert batches[0].dtype == torch.float32
    assert batches[0].shape[1:] == module.spec.input_shape
    assert module.spec.question == Density()


@every_density
def test_a_point_follows_from_seed_epoch_and_index_alone(cls):
    a = epochs(cls(batch_size=7, train_size=50, seed=3), 2)
    b = epochs(cls(batch_size=50, train_size=80, seed=3), 2)
    for first, second in zip(a, b, strict=True):
        assert torch.equal(first, second[:50])
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a[0], epochs(cls(train_size=50, seed=4), 1)[0])


def test_a_point_does_not_depend_on_how_many_blocks_are_drawn():
    draw = dm.TwoMoons.draw
    assert np.array_equal(points(draw, "x", 0, 0, 10), points(draw, "x", 0, 0, 2 * BLOCK + 5)[:10])


def test_the_run_seed_is_the_seed_of_the_stream(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "9")
    assert torch.equal(
        epochs(dm.Pinwheel(train_size=20), 1)[0], epochs(dm.Pinwheel(train_size=20, seed=9), 1)[0]
    )


@every_density
def test_validation_and_test_are_fixed_and_distinct(cls):
    first, second = cls(val_size=60, test_size=60, seed=0), cls(val_size=60, test_size=60, seed=1)
    for name in ("val_dataloader", "test_dataloader"):
        loader = getattr(first, name)()
        x = torch.cat(list(loader))
        assert torch.equal(x, torch.cat(list(loader)))
        assert torch.equal(x, torch.cat(list(getattr(second, name)())))
    sets = [next(iter(first.val_dataloader())), next(iter(first.test_dataloader())), first.reference(60)]
    assert not torch.equal(sets[0], sets[1])
    assert not torch.equal(sets[1], sets[2])


@every_known_density
def test_the_density_integrates_to_one(cls):
    # midpoint rule; circles and Gaussians are smooth at this spacing, the squares lie on its cells
    edge = np.linspace(-6, 6, 601)
    mid = (edge[1:] + edge[:-1]) / 2
    grid = np.stack(np.meshgrid(mid, mid), axis=-1).reshape(-1, 2)
    total = np.exp(cls.exact_log_density(grid)).sum() * (edge[1] - edge[0]) ** 2
    assert total == pytest.approx(1, abs=1e-6)


@every_known_density
def test_the_density_is_that_of_the_points(cls):
    x = points(cls.draw, "test", 0, 0, 20_000)
    # share of points in a box against the integral of the density: 4 standard errors of a share
    for box in ((0, 4, 0, 4), (1, 3, -1, 1), (-2, 0.5, 2, 3.5)):
        inside = (x[:, 0] > box[0]) & (x[:, 0] < box[1]) & (x[:, 1] > box[2]) & (x[:, 1] < box[3])
        if cls is dm.Checkerboard:
            edge = [np.linspace(a, b, 401) for a, b in (box[:2], box[2:])]
            mid = [(e[1:] + e[:-1]) / 2 for e in edge]
            grid = np.stack(np.meshgrid(*mid), axis=-1).reshape(-1, 2)
            cell = (edge[0][1] - edge[0][0]) * (edge[1][1] - edge[1][0])
            expected = np.exp(cls.exact_log_density(grid)).sum() * cell
        else:
            expected, _ = dblquad(
                lambda b, a: float(np.exp(cls.exact_log_density(np.array([[a, b]])))[0]),
                *box,
                epsabs=1e-4,
                epsrel=1e-3,
            )
        assert abs(inside.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(x)) + 1e-4


def test_log_density_of_tensors():
    x = torch.tensor([[-3.0, -3.0], [-1.0, -3.0], [9.0, 9.0]])
    found = dm.Checkerboard().log_density(x)
    assert found.dtype == x.dtype
    assert found[0] == pytest.approx(-np.log(32))
    assert torch.isneginf(found[1:]).all()
    assert dm.TwoMoons().log_density(x) is None


def test_circles_have_the_stated_noise():
    x = points(dm.Circles.draw, "noise", 0, 0, 20_000)
    radius = np.linalg.norm(x, axis=1)
    outer = radius[radius > 2.25]
    # |Rê + σε| ≈ R + σε₁ + σ²ε₂²/2R
    assert kstest((outer - 3 - 0.24**2 / 6) / 0.24, "norm").statistic < 0.02


class Seen(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.epochs = []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch, batch_idx):
        self.epochs[-1].append(batch.clone())
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_a_trainer_gets_new_points_in_every_epoch():
    model, module = Seen(), dm.SwissRoll(batch_size=16, train_size=40, seed=5)
    Trainer(
        max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    ).fit(model, module)
    for epoch, batches in enumerate(model.epochs):
        expected = points(dm.SwissRoll.draw, "swiss-roll:train", 5, epoch, 40)
        assert torch.equal(torch.cat(batches), torch.from_numpy(expected).float())


@pytest.mark.parametrize("name", ["batch_size", "eval_batch_size", "train_size", "val_size", "test_size"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(UsageError, match=f"{name}=0"):
        dm.TwoMoons(**{name: 0})


def test_digest_names_formula_and_sizes():
    assert dm.TwoMoons().digest == dm.TwoMoons().digest
    assert len({dm.TwoMoons().digest, dm.Circles().digest, dm.TwoMoons(test_size=10).digest}) == 3


@pytest.mark.parametrize("command", ["fetch", "path", "verify"])
def test_commands_about_files_say_that_there_are_none(command):
    with pytest.raises(UsageError, match="two-moons is computed as it is used"):
        run([command, "two-moons"])
