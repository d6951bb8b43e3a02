"""The contract of every data set: what it publishes before any data is read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as L
from lightning.pytorch import Trainer
from torch import Tensor

from integrand.spec import Spec

DESCRIBED = "described"
"""Where a checkpoint keeps a description, in the data module's part; and the argument that takes one."""


class DataModule(L.LightningDataModule):
    """A data set with a question; the command line gives its `spec` to the model.

    Attributes:
        digest: sha256 over what is used, known after `setup` at the latest.
    """

    digest: str = ""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What a model takes from the data."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Number of samples by split: `n_train`, `n_val`, `n_test`."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What was inferred from the training part, as plain values; empty where nothing was."""
        return {}

    @property
    def ids(self) -> Sequence[str]:
        """What each sample that is predicted is called, in order; empty where they have no names."""
        return ()

    def log_density(self, x: Tensor) -> Tensor | None:
        """Log p(x) in nats, shape (n,), for x of shape (n, …); None where no closed form is known."""
        return None

    def denormalise(self, x: Tensor) -> Tensor:
        """Inputs in the units of the raw data, from those of a batch."""
        return x


def data_of(trainer: Trainer) -> DataModule | None:
    """The data set of a trainer as one that publishes what it is; None where it is somebody's own."""
    # set once a data module was handed over, and missing before
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, DataModule) else None
