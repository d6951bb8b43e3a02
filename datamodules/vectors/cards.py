"""The cards of the labelled vectors. Imports no torch."""

from __future__ import annotations

from integrand.spec import Classes, Question, Targets, VectorSpec

from ..card import DataCard

_HERE = "integrand.datamodules.vectors"
_DUPONT = "Dupont, Doucet and Teh (2019), Augmented neural ODEs, NeurIPS 32"


def _card(
    name: str,
    class_name: str,
    title: str,
    question: Question,
    size: int,
    counts: dict[str, int],
    reference: str,
    licence: str = "drawn by a formula",
    origin: str = "formula",
) -> DataCard:
    return DataCard(
        name=name,
        class_name=class_name,
        module=f"{_HERE}.{name.replace('-', '_')}",
        title=title,
        group="vectors",
        spec=VectorSpec(name, question, size),
        counts=counts,
        licence=licence,
        reference=reference,
        origin=origin,
    )


_TOY = {"train": 1_000, "test": 1_000}
_WITH_SKLEARN = "comes with scikit-learn (BSD 3-clause); UCI Machine Learning Repository, CC BY 4.0"

CONCENTRIC_ANNULI = _card(
    "concentric-annuli",
    "ConcentricAnnuli",
    "a disc and the ring around it",
    Classes(2, ("disc", "ring")),
    2,
    _TOY,
    _DUPONT,
)
TWO_SPIRALS = _card(
    "two-spirals",
    "TwoSpirals",
    "two interlocking spirals",
    Classes(2, ("first", "second")),
    2,
    _TOY,
    "Lang and Witbrock (1988), Learning to tell two spirals apart, Connectionist Models Summer School",
)
CROSSING_MAP = _card(
    "crossing-map",
    "CrossingMap",
    "the map that sends -1 to 1 and 1 to -1",
    Targets(("-x",)),
    1,
    _TOY,
    _DUPONT,
)
WINE = _card(
    "wine",
    "Wine",
    "wines of three growers by 13 chemical measurements",
    Classes(3, ("grower 1", "grower 2", "grower 3")),
    13,
    {"train": 134, "test": 44},
    "Aeberhard and Forina (1991), Wine, UCI Machine Learning Repository",
    _WITH_SKLEARN,
    "sklearn",
)
BREAST_CANCER = _card(
    "breast-cancer",
    "BreastCancer",
    "benign and malignant tumours by 30 measurements",
    Classes(2, ("malignant", "benign")),
    30,
    {"train": 427, "test": 142},
    "Wolberg, Mangasarian, Street and Street (1995), Breast Cancer Wisconsin (Diagnostic), UCI Machine "
    "Learning Repository",
    _WITH_SKLEARN,
    "sklearn",
)
DIABETES = _card(
    "diabetes",
    "Diabetes",
    "progression of diabetes in a year by 10 measurements",
    # mean and deviation of the 442 raw targets
    Targets(("progression",), scales=(77.00574586945044,), shifts=(152.13348416289594,)),
    10,
    {"train": 332, "test": 110},
    "Efron, Hastie, Johnstone and Tibshirani (2004), Least Angle Regression, Annals of Statistics 32, 407",
    "comes with scikit-learn (BSD 3-clause)",
    "sklearn",
)

CARDS = (CONCENTRIC_ANNULI, TWO_SPIRALS, CROSSING_MAP, WINE, BREAST_CANCER, DIABETES)
