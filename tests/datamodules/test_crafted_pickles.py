"""Pickles that no honest writer makes: numpy's own way to read them trusts what it is given."""

import contextlib
import pickle
import random
import warnings

import numpy as np
import pytest

from integrand.datamodules.formats import pickles
from integrand.errors import DataError

HONEST = pickle.dumps({b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2]}, 2)


class Reduced:
    """Pickles as the call it was made with, and a state."""

    def __init__(self, function, arguments, state=None):
        self.parts = (function, arguments, state)

    def __reduce__(self):
        return self.parts


def dtype(name, state=None):
    return Reduced(np.dtype, (name, False, True), state)


def array(shape, kind, data):
    return Reduced(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, shape, kind, False, data))


@pytest.mark.parametrize(
    "crafted",
    [
        # numpy's own __setstate__ reads this and crashes the process
        dtype("V8", (3, "|", None, ("f0", "f1"), {"f0": (np.dtype("O"), 1 << 40)}, 8, 1, 16)),
        dtype("O", (3, "|", None, None, None, -1, -1, 63)),
        dtype("u1", (3, "|", None, ("a",), None, -1, -1, 0)),
        dtype("u1"),
        array((4,), dtype("O"), [1, 2, 3, 4]),
        array((1 << 40,), dtype("u1", (3, "|", None, None, None, -1, -1, 0)), b"abc"),
        array((-1,), dtype("u1", (3, "|", None, None, None, -1, -1, 0)), b"abc"),
        array((2,), dtype("U100", (3, "<", None, None, None, 400, 4, 8)), b"x" * 800),
    ],
)
def test_crafted_types_and_arrays_are_refused(crafted):
    with pytest.raises(DataError, match="cannot be read as plain arrays"):
        pickles.loads(pickle.dumps({b"data": crafted}, 2), "file")


@pytest.mark.parametrize("kind", ["u1", "<i2", ">i4", "f4", "f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_arrays_come_back_as_they_were(kind, order):
    given = np.asarray(np.arange(12).reshape(3, 4), dtype=kind, order=order)
    read = pickles.loads(pickle.dumps([given], 2), "file")[0]
    np.testing.assert_array_equal(read, given)
    assert read.dtype == given.dtype
    assert read.flags.writeable


def test_an_odd_escape_is_read_without_a_word():
    """Of Python 2's strings; Python says of some escapes that it will refuse them one day."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickles.loads(rb"S'a\d'" + b"\n.", "file") == rb"a\d"


def test_no_damage_brings_anything_but_the_error():
    """Bits flipped, ends cut and pieces repeated, 3,000 times."""
    rng = random.Random(0)
    for _ in range(3000):
        damaged = bytearray(HONEST)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.3:
            damaged = damaged[: rng.randrange(len(damaged))]
        with contextlib.suppress(DataError):
            pickles.loads(bytes(damaged), "file")
