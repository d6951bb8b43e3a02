"""The image datamodule: what it publishes, how it splits and scales, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from integrand.datamodules import Digits, FashionMini
from integrand.datamodules.images.augment import HorizontalFlip, RandomCrop
from integrand.errors import DataError, SpecError, UsageError
from integrand.spec import Classes


@pytest.fixture
def made_fashion(made, fashion, module_for, tmp_path):
    """(class, folder) of a Fashion-MNIST of 60 + 20 made images."""
    card, arrays = fashion
    made.write_folder(tmp_path / "fashion", made.idx_files(arrays))
    return module_for(card), str(tmp_path / "fashion")


def batches(loader):
    return [(x.clone(), y.clone()) for x, y in loader]


def epoch_images(loader):
    return torch.cat([x for x, _ in loader])


def test_the_spec_is_there_before_any_data(monkeypatch, tmp_path):
    monkeypatch.setenv("INTEGRAND_CACHE", str(tmp_path / "nowhere"))
    from integrand.datamodules import CIFAR100

    dm = CIFAR100()
    assert dm.spec.input_shape == (3, 32, 32)
    assert dm.spec.num_classes == len(dm.spec.class_names) == 100
    assert dm.sizes == {"n_train": 45000, "n_val": 5000, "n_test": 10000}
    assert dm.digest == ""


def test_fashion_mini_is_real_whole_and_needs_nothing():
    dm = FashionMini()
    dm.prepare_data()
    dm.setup()
    assert dm.place.kind == "package"
    assert dm.sizes == {"n_train": 5400, "n_val": 600, "n_test": 1000}
    parts = {"train": dm.train_dataloader(), "val": dm.val_dataloader(), "test": dm.test_dataloader()}
    labels = {k: torch.cat([y for _, y in loader]) for k, loader in parts.items()}
    for k, per_class in (("train", 540), ("val", 60), ("test", 100)):
        assert torch.bincount(labels[k]).tolist() == [per_class] * 10
    x, y = next(iter(parts["train"]))
    assert (x.shape, x.dtype, y.dtype) == ((128, 1, 28, 28), torch.float32, torch.int64)


@pytest.mark.parametrize("cls", [FashionMini, Digits])
def test_standard_scaling_gives_zero_mean_and_unit_deviation(cls):
    dm = cls(augment=None, val_size=0)
    dm.setup()
    x = epoch_images(dm.train_dataloader()).double()
    # the card rounds mean and deviation to 4 digits, which the division by a deviation near 0.36 triples
    assert abs(x.mean().item()) < 5e-4
    assert abs(x.std(correction=0).item() - 1) < 5e-4


@pytest.mark.parametrize(
    ("normalise", "low", "high"), [("unit", 0.0, 1.0), ("symmetric", -1.0, 1.0), ("standard", -0.81, 2.02)]
)
def test_scalings_and_their_inverse(normalise, low, high):
    dm = FashionMini(normalise=normalise)
    dm.setup()
    x, _ = next(iter(dm.test_dataloader()))
    assert x.min().item() == pytest.approx(low, abs=0.01)
    assert x.max().item() == pytest.approx(high, abs=0.01)
    pixels = dm.denormalise(x) * 255
    # float32: a relative rounding of 6e-8 in each of four operations, times 255
    assert (pixels - pixels.round()).abs().max() < 1e-4
    assert pixels.round().max() == 255


def test_every_channel_has_its_own_scale_and_shift(made, cifar10, module_for, tmp_path):
    """(pixel − mean) / deviation, with the channel's figures on the card, which differ by up to a tenth."""
    card, arrays = cifar10
    assert len(set(card.mean)) == len(set(card.std)) == 3
    made.write_folder(tmp_path / "cifar", made.cifar10_python(arrays))
    options = {"data_dir": str(tmp_path / "cifar"), "augment": None, "val_size": 0}
    pixels, standard = (module_for(card)(normalise=n, **options) for n in ("unit", "standard"))
    for dm in (pixels, standard):
        dm.setup()
    (x, labels), (y, same) = next(iter(pixels.test_dataloader())), next(iter(standard.test_dataloader()))
    assert torch.equal(labels, same)
    for channel, (mean, std) in enumerate(zip(card.mean, card.std, strict=True)):
        # float32: relative roundings of 6e-8 of numbers up to 4
        torch.testing.assert_close(y[:, channel], (x[:, channel] - mean) / std, rtol=0, atol=1e-6)
        assert (standard.denormalise(y)[:, channel] - x[:, channel]).abs().max() < 1e-6


def test_training_and_validation_share_no_image(made_fashion):
    cls, folder = made_fashion
    dm = cls(data_dir=folder, augment=None, normalise="unit", val_size=20)
    dm.setup()
    train, val = epoch_images(dm.train_dataloader()), epoch_images(dm.val_dataloader())
    assert (len(train), len(val)) == (40, 20)
    seen = {x.numpy().tobytes() for x in train}
    assert len(seen) == 40
    assert not seen & {x.numpy().tobytes() for x in val}


@pytest.mark.parametrize(("val_size", "n"), [(0.1, 6), (0.25, 15), (10, 10), (1, 1), (0, 0), (0.0, 0)])
def test_val_size_is_a_fraction_or_a_number(made_fashion, val_size, n):
    cls, folder = made_fashion
    dm = cls(data_dir=folder, val_size=val_size)
    dm.setup()
    assert dm.sizes["n_val"] == n
    loader = dm.val_dataloader()
    assert (sum(len(y) for _, y in loader) if n else loader) == (n or [])


@pytest.mark.parametrize("val_size", [60, 61, -1, -0.1, 1.5])
def test_impossible_val_size(made_fashion, val_size):
    with pytest.raises(UsageError, match="cannot be held out of 60"):
        made_fashion[0](val_size=val_size)


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"eval_batch_size": 0}, {"train_limit": 0}])
def test_impossible_sizes(made_fashion, arguments):
    with pytest.raises(UsageError):
        made_fashion[0](**arguments)


def test_train_limit_keeps_the_classes_and_the_validation_set(made_fashion):
    cls, folder = made_fashion
    short, whole = cls(data_dir=folder, train_limit=20), cls(data_dir=folder)
    short.setup()
    whole.setup()
    labels = torch.cat([y for _, y in short.train_dataloader()])
    assert torch.bincount(labels).tolist() == [2] * 10
    assert short.sizes["n_train"] == 20
    assert torch.equal(epoch_images(short.val_dataloader()), epoch_images(whole.val_dataloader()))


def test_order_and_augmentation_are_given_by_seed_and_epoch_alone(made_fashion):
    cls, folder = made_fashion

    def epochs(seed, global_seed, n=3):
        dm = cls(data_dir=folder, seed=seed, augment=[RandomCrop(2), HorizontalFlip()], batch_size=16)
        dm.setup()
        loader = dm.train_dataloader()
        torch.manual_seed(global_seed)
        return [batches(loader) for _ in range(n)]

    a, b, other = epochs(0, 1), epochs(0, 2), epochs(5, 1)
    flat = [torch.cat([x for x, _ in epoch]) for epoch in a]
    for epoch, again in zip(a, b, strict=True):
        for (x, y), (x2, y2) in zip(epoch, again, strict=True):
            assert torch.equal(x, x2)
            assert torch.equal(y, y2)
    assert not torch.equal(flat[0], flat[1])
    assert not torch.equal(flat[0], torch.cat([x for x, _ in other[0]]))


def test_a_later_epoch_can_be_reached_directly(made_fashion):
    cls, folder = made_fashion
    dm = cls(data_dir=folder, augment=[RandomCrop(2)])
    dm.setup()
    running = dm.train_dataloader()
    third = [batches(running) for _ in range(3)][2]
    resumed = dm.train_dataloader()
    resumed.sampler.set_epoch(2)
    for (x, y), (x2, y2) in zip(third, batches(resumed), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_loaders_leave_the_global_random_state_alone(made_fashion):
    cls, folder = made_fashion
    dm = cls(data_dir=folder)
    dm.setup()
    before = torch.random.get_rng_state()
    for loader in (dm.train_dataloader(), dm.val_dataloader(), dm.test_dataloader(), dm.predict_dataloader()):
        batches(loader)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_run_seed_is_taken_when_none_is_given(made_fashion, monkeypatch):
    cls, folder = made_fashion
    orders = []
    for seed in ("1", "2", "1"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        dm = cls(data_dir=folder, augment=None)
        dm.setup()
        orders.append(epoch_images(dm.train_dataloader()))
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])


def test_the_digest_names_content_and_split(made_fashion):
    cls, folder = made_fashion

    def digest(**arguments):
        dm = cls(data_dir=folder, **arguments)
        dm.setup()
        return dm.digest

    assert digest() == digest(batch_size=7, seed=3, augment=None, normalise="unit")
    assert len({digest(), digest(split_seed=1), digest(val_size=9), digest(train_limit=10)}) == 4


def test_a_wrong_card_is_a_spec_error(made, small, module_for, tmp_path):
    card, arrays = small("fashion-mnist", 60, 20)
    made.write_folder(tmp_path, made.idx_files(arrays))
    wrong = {
        "shape": replace(card, spec=replace(card.spec, shape=(3, 28, 28)), mean=(0.0,) * 3, std=(1.0,) * 3),
        "labels go from 0 to 9": replace(card, spec=replace(card.spec, question=Classes(5))),
        "60 train images where the card says 50": replace(card, counts={"train": 50, "test": 20}),
        "bytes up to 16": replace(card, pixel_max=16),
    }
    for message, bad in wrong.items():
        with pytest.raises(SpecError, match=message):
            module_for(bad)(data_dir=str(tmp_path)).setup()


def test_missing_data_names_every_way(fashion, module_for):
    dm = module_for(fashion[0])()
    with pytest.raises(DataError) as caught:
        dm.prepare_data()
    assert "not on this machine and INTEGRAND_OFFLINE forbids the download" in caught.value.message
    for way in (
        "integrand data fetch fashion-mnist --via apt (31 MB)",
        "INTEGRAND_OFFLINE=0 integrand data fetch fashion-mnist --via https",
        "INTEGRAND_DATA=/folder, with its files in /folder/fashion-mnist",
    ):
        assert way in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_data_dir_that_is_none_is_refused(fashion, module_for):
    with pytest.raises(DataError, match="data_dir '/no/such/folder' is no folder"):
        module_for(fashion[0])(data_dir="/no/such/folder").setup()


def test_wrong_content_is_never_replaced_by_another_copy(made, fashion, made_fashion, tmp_path, monkeypatch):
    """A good copy is in INTEGRAND_DATA, but the folder that the user named holds something else."""
    cls, good = made_fashion
    arrays = {k: v.copy() for k, v in fashion[1].items()}
    arrays["train_images"][0] = 0
    made.write_folder(tmp_path / "other", made.idx_files(arrays))
    monkeypatch.setenv("INTEGRAND_DATA", good)
    with pytest.raises(DataError, match="is not fashion-mnist"):
        cls(data_dir=str(tmp_path / "other")).setup()


def test_one_image_at_a_time(made_fashion):
    cls, folder = made_fashion
    dm = cls(data_dir=folder, augment=None)
    dm.setup()
    data = dm.test_dataloader().dataset
    x, y = data[7]
    assert x.shape == (1, 28, 28)
    assert y.shape == ()
    assert torch.equal(x, epoch_images(dm.test_dataloader())[7])


def test_augmentation_touches_training_only(made_fashion):
    cls, folder = made_fashion
    dm = cls(data_dir=folder, augment=[HorizontalFlip(1.0)], normalise="unit", val_size=10)
    plain = cls(data_dir=folder, augment=None, normalise="unit", val_size=10)
    dm.setup()
    plain.setup()
    assert torch.equal(epoch_images(dm.val_dataloader()), epoch_images(plain.val_dataloader()))
    assert torch.equal(epoch_images(dm.test_dataloader()), epoch_images(plain.test_dataloader()))
    assert torch.equal(epoch_images(dm.train_dataloader()), epoch_images(plain.train_dataloader()).flip(-1))


def test_pixels_are_those_of_the_file(made_fashion, fashion):
    cls, folder = made_fashion
    dm = cls(data_dir=folder, normalise="unit")
    dm.setup()
    x = epoch_images(dm.predict_dataloader())
    assert np.array_equal((x * 255).round().byte().numpy(), fashion[1]["test_images"])


def test_label_noise_flips_the_share_that_is_said_and_no_test_label(cache):
    clean, noisy = (Digits(val_size=0.25, label_noise=share) for share in (0.0, 0.4))
    clean.setup()
    noisy.setup()
    same = {split: clean._splits[split][1] == noisy._splits[split][1] for split in ("train", "val", "test")}
    assert int((~same["train"]).sum() + (~same["val"]).sum()) == round(0.4 * 1437)
    assert not same["val"].all()
    assert same["test"].all()
    assert torch.equal(clean._splits["train"][0], noisy._splits["train"][0])
    # every other class alike: some 430 flips over nine shifts, 48 each, of deviation 6.5
    shift = (noisy._splits["train"][1] - clean._splits["train"][1]) % 10
    assert (torch.bincount(shift, minlength=10)[1:] > 15).all()
    digests = {clean.digest, noisy.digest}
    for split_seed in (0, 1):
        other = Digits(val_size=0.25, label_noise=0.4, split_seed=split_seed)
        other.setup()
        digests.add(other.digest)
    assert len(digests) == 3  # the second of split seed 0 is the first again
    with pytest.raises(UsageError, match="is no share"):
        Digits(label_noise=40)
