"""What was generated once is kept in the cache under a digest of all that it depends on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from ..acquire.cache import cache_folder, locked

Arrays = Mapping[str, npt.NDArray[np.float64]]


def kept(name: str, key: str, make: Callable[[], dict[str, npt.NDArray[np.float64]]]) -> Arrays:
    """The arrays of a key, from the cache or made and put there; where it cannot be written they are made.

    Args:
        name: Name of the data set.
        key: Digest of all that the arrays depend on.
        make: Makes them.
    """
    file = cache_folder() / "generated" / f"{name}-{key[:20]}.npz"
    if (found := _read(file)) is not None:
        return found
    made = make()
    try:
        with locked(f"generated-{name}") as scratch:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(scratch / "made.npz", **made)  # type: ignore[arg-type]  # its stub names allow_pickle
            (scratch / "made.npz").replace(file)
    except (DataError, OSError):
        return made
    return made


def _read(file: os.PathLike[str]) -> Arrays | None:
    """None where there is no such file, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        return None
    except Exception:  # damaged bytes can fail in any way; it is made again
        return None
