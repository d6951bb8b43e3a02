"""Cards of the user's own data; what they are is known once they are read. Imports no torch."""

from __future__ import annotations

from integrand.spec import Classes, ImageSpec, Spec, VectorSpec

from ..card import DataCard

_HERE = "integrand.datamodules.own"
ORIGIN = "your file"


def _card(name: str, class_name: str, title: str, group: str, spec: Spec, note: str) -> DataCard:
    return DataCard(
        name=name,
        class_name=class_name,
        module=f"{_HERE}.{name.replace('-', '_')}",
        title=title,
        group=group,
        spec=spec,
        counts={},
        licence="yours",
        reference="yours",
        origin=ORIGIN,
        note=note,
    )


IMAGE_FOLDER = _card(
    "image-folder",
    "ImageFolder",
    "your own images, a folder for each class",
    "images",
    ImageSpec("image-folder", Classes(2), (3, 64, 64)),
    "a folder for each class, or train, val and test with such folders inside",
)
ARRAYS = _card(
    "arrays",
    "Arrays",
    "your own images or vectors, in .npz or .npy",
    "vectors",
    VectorSpec("arrays", Classes(2), 1),
    "keys are guessed and said; nothing is unpickled",
)
CSV_TABLE = _card(
    "csv-table",
    "CSVTable",
    "your own table, in CSV or Parquet",
    "vectors",
    VectorSpec("csv-table", Classes(2), 1),
    "one sample in a row; the question follows from the target column",
)

HUGGING_FACE = _card(
    "hugging-face",
    "HuggingFace",
    "a data set of the Hugging Face hub, or one that `datasets` saved",
    "images",
    ImageSpec("hugging-face", Classes(2), (3, 64, 64)),
    "pip install 'integrand[hf]'; images, or the columns of a table",
)

CARDS = (IMAGE_FOLDER, ARRAYS, CSV_TABLE, HUGGING_FACE)
