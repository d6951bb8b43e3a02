"""Cards of image sets that are had over https alone. Imports no torch."""

from __future__ import annotations

import string
from dataclasses import replace

from integrand.spec import Classes, ImageSpec

from ..card import DataCard, Source

_HERE = "integrand.datamodules.images"
_DIGITS = tuple(string.digits)

_KMNIST_GZ = {
    "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
    "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
    "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
    "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
}

KMNIST = DataCard(
    name="kmnist",
    class_name="KMNIST",
    module=f"{_HERE}.kmnist",
    title="70,000 letters of old Japanese handwriting",
    group="images",
    spec=ImageSpec(
        "kmnist",
        Classes(10, ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
        (1, 28, 28),
    ),
    counts={"train": 60000, "test": 10000},
    licence="CC BY-SA 4.0 (KMNIST dataset, created by CODH, adapted from the Kuzushiji dataset of NIJL)",
    reference="Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto and Ha (2018), Deep learning for classical "
    "Japanese literature, arXiv:1812.01718",
    mean=(0.1918,),
    std=(0.3483,),
    formats=("idx", "npz"),
    folders=("kmnist", "KMNIST/raw", "KMNIST"),
    sources=(
        Source(
            "https",
            "idx",
            mirrors=("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
            files=tuple(_KMNIST_GZ),
            sha256=_KMNIST_GZ,
            megabytes=21.2,
        ),
    ),
    megabytes=54.9,
)

_SVHN_FILES = {
    "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
}

SVHN = DataCard(
    name="svhn",
    class_name="SVHN",
    module=f"{_HERE}.svhn",
    title="99,289 digits of house numbers, cropped",
    group="images",
    spec=ImageSpec("svhn", Classes(10, _DIGITS), (3, 32, 32)),
    counts={"train": 73257, "test": 26032},
    licence="for non-commercial use only (its authors): fetch it, do not redistribute it",
    reference="Netzer, Wang, Coates, Bissacco, Wu and Ng (2011), Reading digits in natural images with "
    "unsupervised feature learning, NIPS workshop on deep learning",
    file_sha256=_SVHN_FILES,
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    formats=("svhn-mat", "npz"),
    folders=("svhn", "SVHN"),
    sources=(
        Source(
            "https",
            "svhn-mat",
            mirrors=("https://ufldl.stanford.edu/housenumbers/",),
            files=tuple(_SVHN_FILES),
            sha256=_SVHN_FILES,
            megabytes=246.3,
        ),
    ),
    megabytes=305.1,
)

_MERGED = (*_DIGITS, *string.ascii_uppercase, *"abdefghnqrt")
_EMNIST_SOURCE = Source(
    "https",
    "",
    prefix="gzip",
    mirrors=(
        "https://biometrics.nist.gov/cs_links/EMNIST/",
        "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
    ),
    files=("gzip.zip",),
    sha256={"gzip.zip": "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"},
    megabytes=561.8,
)


def _emnist(
    subset: str, title: str, classes: tuple[str, ...], train: int, test: int, mean: float, std: float
) -> DataCard:
    name = f"emnist-{subset}"
    return DataCard(
        name=name,
        class_name="EMNIST",
        module=f"{_HERE}.emnist",
        title=title,
        group="images",
        spec=ImageSpec(name, Classes(len(classes), classes), (1, 28, 28)),
        counts={"train": train, "test": test},
        licence="public domain (NIST, work of the US government)",
        reference="Cohen, Afshar, Tapson and van Schaik (2017), EMNIST: an extension of MNIST to handwritten "
        "letters, arXiv:1702.05373",
        mean=(mean,),
        std=(std,),
        formats=(name, "npz"),
        folders=(name, "emnist", "EMNIST/raw", "EMNIST"),
        sources=(replace(_EMNIST_SOURCE, format=name),),
        megabytes=round(785e-6 * (train + test), 1),
        options={"subset": subset},
    )


_EMNIST = (
    _emnist(
        "balanced", "131,600 letters and digits, equally many of each", _MERGED, 112800, 18800, 0.1751, 0.3332
    ),
    _emnist(
        "byclass",
        "814,255 digits, capitals and small letters",
        (*_DIGITS, *string.ascii_uppercase, *string.ascii_lowercase),
        *(697932, 116323, 0.1736, 0.3317),
    ),
    _emnist(
        "bymerge", "814,255 digits and letters, alike ones merged", _MERGED, 697932, 116323, 0.1736, 0.3317
    ),
    _emnist(
        "letters",
        "145,600 letters, capital and small merged",
        tuple(string.ascii_lowercase),
        *(124800, 20800, 0.1722, 0.3309),
    ),
    _emnist("digits", "280,000 digits", _DIGITS, 240000, 40000, 0.1733, 0.3309),
    _emnist("mnist", "70,000 digits, made as MNIST was", _DIGITS, 60000, 10000, 0.1733, 0.3317),
)

EMNIST = replace(
    _EMNIST[0],
    name="emnist",
    title="handwritten letters and digits, six ways to choose them",
    note="a collection: data.subset is balanced, byclass, bymerge, letters, digits or mnist; fetch one as "
    "emnist-balanced",
    members=_EMNIST,
    options={},
)

FURTHER: tuple[DataCard, ...] = (KMNIST, EMNIST, SVHN)
