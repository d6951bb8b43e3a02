"""The cards of the two-dimensional distributions. Imports no torch."""

from __future__ import annotations

from integrand.spec import Density, VectorSpec

from ..card import DataCard

_HERE = "integrand.datamodules.densities"
_REFERENCE = "shapes as in Grathwohl et al. (2019), FFJORD, section 4.1; drawn by the formula in its file"


def _card(name: str, class_name: str, title: str, note: str = "") -> DataCard:
    return DataCard(
        name=name,
        class_name=class_name,
        module=f"{_HERE}.{name.replace('-', '_')}",
        title=title,
        group="densities",
        spec=VectorSpec(name, Density(), 2),
        # points per split as the datamodule draws them by default; the training stream never repeats
        counts={"train": 25_600, "test": 4_000},
        licence="drawn by a formula",
        reference=_REFERENCE,
        origin="formula",
        note=note,
    )


TWO_MOONS = _card("two-moons", "TwoMoons", "two interleaved half circles with noise")
EIGHT_GAUSSIANS = _card("eight-gaussians", "EightGaussians", "eight Gaussians on a circle, exact density")
PINWHEEL = _card("pinwheel", "Pinwheel", "five Gaussian arms twisted into a pinwheel")
CHECKERBOARD = _card("checkerboard", "Checkerboard", "uniform on eight squares of a board, exact density")
SWISS_ROLL = _card("swiss-roll", "SwissRoll", "a spiral with noise")
CIRCLES = _card("circles", "Circles", "two concentric circles with noise, exact density")

CARDS = (TWO_MOONS, EIGHT_GAUSSIANS, PINWHEEL, CHECKERBOARD, SWISS_ROLL, CIRCLES)
