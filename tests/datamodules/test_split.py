"""The held-out part: stratified, disjoint, complete, and the same for ever."""

import numpy as np
import pytest

from integrand.datamodules.images.split import stratified


@pytest.mark.parametrize("size", [0, 1, 7, 100, 999, 1000])
def test_the_parts_are_disjoint_and_complete(size):
    labels = np.random.default_rng(0).integers(0, 7, 1000)
    first, second = stratified(labels, size, seed=3)
    assert len(second) == size
    assert sorted([*first, *second]) == list(range(1000))


def test_each_class_keeps_its_share_to_within_one():
    labels = np.repeat(np.arange(5), [10, 100, 250, 333, 307])
    _, held = stratified(labels, 137, seed=0)
    share = np.bincount(labels) * 137 / 1000
    # largest remainders: every class gets its share rounded down or up
    assert np.all(np.abs(np.bincount(labels[held], minlength=5) - share) < 1)


def test_the_seed_alone_decides():
    labels = np.arange(200) % 10
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must not move
    a, b = stratified(labels, 50, seed=1)[1], stratified(labels, 50, seed=1)[1]
    assert np.array_equal(a, b)
    assert not np.array_equal(a, stratified(labels, 50, seed=2)[1])
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_the_choice_never_changes():
    """Recorded once: any other answer would silently change every validation set."""
    assert stratified(np.arange(30) % 3, 6, seed=0)[1].tolist() == [1, 3, 11, 13, 20, 21]
