"""The contract of every evaluation: a measurement on a trained model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..figures import Picture

Row = dict[str, Any]
"""A row of a table by column."""


@dataclass
class Finding:
    """What one setting of an evaluation gave; recorded as one run, which `integrand compare` reads.

    Args:
        label: The setting in a few words.
        settings: What makes it another measurement than its siblings, such as the sampler; plain values.
        quantities: What was found, by recorded name; every name is declared in `quantities`. Without those of
            a measurement that failed.
        cost: What it cost, such as `sample_nfe` and `evaluation_seconds`.
        pictures: Figures of this setting.
        error: What went wrong; empty where nothing did.
    """

    label: str
    settings: Mapping[str, Any]
    quantities: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    error: str = ""


@dataclass
class Summary:
    """What all settings together show; stored with the run that trained the model.

    Args:
        tables: Rows by the name of the table.
        pictures: Figures.
        notes: What a reader must know, a sentence each.
    """

    tables: dict[str, list[Row]] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()


class Evaluation(ABC):
    """A measurement on a trained model. One file in this folder; its constructor's arguments are its options.

    A class with a name is found by itself: `integrand evaluate --with NAME --NAME.option value` runs it.
    """

    name: ClassVar[str] = ""
    """What `--with` calls it; empty on abstract bases."""
    title: ClassVar[str] = ""
    """What it measures, in a few words."""
    quantities: ClassVar[tuple[str, ...]] = ()
    """The quantities that it finds, as `integrand.quantities` declares them."""

    @classmethod
    @abstractmethod
    def fits(cls, model: Any, data: Any) -> str:
        """Why this model on these data cannot be measured so, in words; empty where it can.

        Args:
            model: A trained module.
            data: Its data module.
        """

    @property
    @abstractmethod
    def headline(self) -> str:
        """The quantity that a comparison takes where nobody names one; may be known after `measure` only."""

    @abstractmethod
    def measure(self, model: Any, data: Any) -> Iterator[Finding]:
        """One finding after the other; what was found before an error is kept.

        Args:
            model: A trained module in evaluation mode, on its device.
            data: Its data module, nothing set up yet.

        Raises:
            UsageError: The options ask for what the model cannot do; nothing has been measured yet.
        """

    def summary(self, findings: Sequence[Finding]) -> Summary:
        """Tables and figures over all findings; by default a table of all of them, and their own figures."""
        pictures = [picture for finding in findings for picture in finding.pictures]
        return Summary({self.name: [rows_of(finding) for finding in findings]}, pictures)


def rows_of(finding: Finding) -> Row:
    """A finding as one row."""
    row = {**finding.settings, **finding.cost, **finding.quantities}
    return row | ({"error": finding.error} if finding.error else {})
