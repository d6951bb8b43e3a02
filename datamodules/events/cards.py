"""Cards of sets of events. Imports no torch."""

from __future__ import annotations

from integrand.spec import Events, SeriesSpec

from ..card import DataCard

_HERE = "integrand.datamodules.events"


def _card(
    name: str, class_name: str, title: str, reference: str, note: str, origin: str = "formula"
) -> DataCard:
    return DataCard(
        name=name,
        class_name=class_name,
        module=f"{_HERE}.{name.replace('-', '_')}",
        title=title,
        group="events",
        spec=SeriesSpec(name, Events(), channels=1, length=1, irregular=True, names=("event",)),
        counts={"train": 256, "test": 256} if origin == "formula" else {},
        licence="drawn by a formula" if origin == "formula" else "yours",
        reference=reference,
        note=note,
        origin=origin,
    )


HAWKES = _card(
    "hawkes",
    "Hawkes",
    "events that bring further ones",
    "Hawkes (1971), Spectra of some self-exciting and mutually exciting point processes",
    "thinning (Ogata 1981); likelihood of the true process in closed form, final/test_true_nll",
)
SELF_CORRECTING = _card(
    "self-correcting",
    "SelfCorrecting",
    "events that keep further ones away",
    "Isham and Westcott (1979), A self-correcting point process",
    "drawn exactly; likelihood of the true process in closed form, final/test_true_nll",
)
POISSON_PROCESS = _card(
    "poisson-process",
    "PoissonProcess",
    "events at a constant rate",
    "Daley and Vere-Jones (2003), An Introduction to the Theory of Point Processes I",
    "drawn exactly; likelihood of the true process in closed form, final/test_true_nll",
)

CSV_EVENTS = _card(
    "csv-events",
    "CSVEvents",
    "your own events, from a file",
    "yours",
    "one event in a row: sequence, time, kind",
    "your file",
)

CARDS = (HAWKES, SELF_CORRECTING, POISSON_PROCESS, CSV_EVENTS)
