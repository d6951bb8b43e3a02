"""Augmentation against slices written out by hand, and the independence of its random numbers."""

import numpy as np
import pytest
import torch

from integrand.datamodules.images.augment import Cutout, HorizontalFlip, RandomCrop
from integrand.datamodules.images.loading import ImageSet, generator
from integrand.errors import UsageError

ALL = (RandomCrop(2), HorizontalFlip(), Cutout(3))


@pytest.fixture
def images():
    return torch.randint(
        0, 256, (40, 3, 9, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def make_set(images, seed=0, augment=ALL):
    return ImageSet(images, torch.arange(len(images)), [1.0] * 3, [0.0] * 3, augment, seed)


@pytest.mark.parametrize(("fill", "mode"), [("black", "constant"), ("mirror", "reflect")])
def test_crop_is_a_window_of_the_padded_image(images, fill, mode):
    crop = RandomCrop(3, fill)
    drawn = crop.draw(len(images), (9, 11), generator("test", 0, 0))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode=mode)
    for i, (image, (top, left)) in enumerate(zip(crop.apply(images, drawn), drawn.tolist(), strict=True)):
        assert np.array_equal(image.numpy(), padded[i, :, top : top + 9, left : left + 11])


def test_crop_uses_every_offset_equally_often():
    drawn = RandomCrop(2).draw(25_000, (28, 28), generator("test", 0, 0))
    counts = torch.bincount(drawn[:, 0] * 5 + drawn[:, 1], minlength=25)
    # 1,000 expected, standard deviation 31: five of them
    assert (counts - 1000).abs().max() < 155


def test_flip_mirrors_the_drawn_images_and_no_others(images):
    flip = HorizontalFlip(0.5)
    drawn = flip.draw(len(images), (9, 11), generator("test", 0, 0))
    out = flip.apply(images, drawn)
    assert 0 < drawn.sum() < len(images)
    for image, result, mirrored in zip(images, out, drawn[:, 0].tolist(), strict=True):
        assert torch.equal(result, image.flip(2) if mirrored else image)


def test_flip_probability():
    n = 40_000
    share = HorizontalFlip(0.3).draw(n, (8, 8), generator("test", 1, 0)).double().mean().item()
    assert abs(share - 0.3) < 5 * (0.3 * 0.7 / n) ** 0.5  # five standard deviations
    assert HorizontalFlip(1.0).draw(99, (8, 8), generator("test", 1, 0)).sum() == 99
    assert HorizontalFlip(0.0).draw(99, (8, 8), generator("test", 1, 0)).sum() == 0


@pytest.mark.parametrize("size", [1, 4, 5])
def test_cutout_blacks_out_one_square(images, size):
    whole = images.clamp(min=1)
    cut = Cutout(size)
    drawn = cut.draw(len(whole), (9, 11), generator("test", 0, 0))
    out = cut.apply(whole.clone(), drawn)
    for image, result, (row, column) in zip(whole, out, drawn.tolist(), strict=True):
        expected = image.clone()
        top, left = row - size // 2, column - size // 2
        expected[:, max(0, top) : top + size, max(0, left) : left + size] = 0
        assert torch.equal(result, expected)


@pytest.mark.parametrize(
    "make",
    [lambda: RandomCrop(0), lambda: HorizontalFlip(1.5), lambda: Cutout(0)],
    ids=["crop", "flip", "cutout"],
)
def test_senseless_arguments_are_refused(make):
    with pytest.raises(UsageError):
        make()


def test_mirror_padding_larger_than_the_image_is_refused():
    with pytest.raises(UsageError, match="mirrors more"):
        RandomCrop(8, "mirror").draw(1, (8, 8), generator("test", 0, 0))


def test_what_happens_to_an_image_depends_on_neither_batch_nor_order(images):
    whole = make_set(images).__getitems__(list(range(40)))[0]
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1)).tolist()
    data = make_set(images)
    pieces = torch.cat([data.__getitems__(order[i : i + 7])[0] for i in range(0, 40, 7)])
    assert torch.equal(pieces, whole[order])


def test_epochs_and_seeds_differ_and_repeat(images):
    def batch(seed, epoch):
        data = make_set(images, seed)
        data.epoch = epoch
        return data.__getitems__(list(range(40)))[0]

    assert torch.equal(batch(0, 1), batch(0, 1))
    assert not torch.equal(batch(0, 1), batch(0, 2))
    assert not torch.equal(batch(0, 1), batch(1, 1))
    assert not torch.equal(batch(0, 1), batch(1, 0)), "seed and epoch must not add up"


def test_the_global_random_state_is_neither_read_nor_moved(images):
    torch.manual_seed(1)
    first = make_set(images).__getitems__(list(range(40)))[0]
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second = make_set(images).__getitems__(list(range(40)))[0]
    assert torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_stored_images_are_never_changed(images):
    copy = images.clone()
    make_set(images, augment=(Cutout(5),)).__getitems__(list(range(40)))
    assert torch.equal(images, copy)
