"""What a data set tells a model before either has seen a batch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Task = Literal["image-classification", "regression", "density", "time-series"]


@dataclass(frozen=True)
class DataSpec:
    """The numbers that a model takes from its data, so that no configuration repeats them.

    Args:
        name: Name of the data set, as `integrand data list` prints it.
        task: What is to be learned.
        input_shape: Shape of one input without the batch dimension; images as (channels, height, width).
        num_classes: Number of classes, 0 where there are none.
        output_size: Length of the target vector of a regression, 0 elsewhere.
        class_names: Name of each class in label order; empty, or `num_classes` long.
        bin_widths: Distance of neighbouring grey levels of each channel in the units of the input; empty for
            continuous data. Likelihoods of images need it.
    """

    name: str
    task: Task
    input_shape: tuple[int, ...]
    num_classes: int = 0
    output_size: int = 0
    class_names: tuple[str, ...] = ()
    bin_widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {self.num_classes} classes")

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain, JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DataSpec:
        """The inverse of `to_dict`; lists become tuples again."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)
