"""Which files are called like images, arrays or tables. Standard library only."""

from __future__ import annotations

IMAGES = frozenset(
    f".{name}"
    for name in (
        "png",
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "webp",
        "bmp",
        "gif",
        "tif",
        "tiff",
        "ppm",
        "pgm",
        "pbm",
    )
)
ARRAYS = frozenset({".npz", ".npy"})
PARQUET = frozenset({".parquet", ".pq"})
TABLES = frozenset({".csv", ".tsv", ".txt"}) | PARQUET
KNOWN = IMAGES | ARRAYS | TABLES
