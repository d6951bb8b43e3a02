"""Cards of the user's own series; what they are is known once they are read. Imports no torch."""

from __future__ import annotations

from integrand.spec import Forecast, SeriesSpec

from ...card import DataCard

_HERE = "integrand.datamodules.series.own"


def _card(name: str, class_name: str, title: str, origin: str) -> DataCard:
    return DataCard(
        name=name,
        class_name=class_name,
        module=f"{_HERE}.{name.replace('-', '_')}",
        title=title,
        group="series",
        spec=SeriesSpec(name, Forecast(), channels=1, length=1),
        counts={},
        licence="yours",
        reference="yours",
        origin=origin,
        note="one observation in a row; the question follows from the columns",
    )


CSV_TRAJECTORIES = _card("csv-trajectories", "CSVTrajectories", "your own series, from a file", "your file")
SERIES_FRAME = _card("series-frame", "SeriesFrame", "your own series, from a data frame", "your frame")

OWN = (CSV_TRAJECTORIES,)  # a frame cannot be named on a command line
