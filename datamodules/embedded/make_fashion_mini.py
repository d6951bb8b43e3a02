"""Make `fashion-mini.npz` from Debian's package of Fashion-MNIST, the same bytes of content every time.

    apt-get download dataset-fashion-mnist
    python datamodules/embedded/make_fashion_mini.py dataset-fashion-mnist_*.deb

600 training and 100 test images per class, chosen with seed 0, in their original order.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from integrand.datamodules import find_card
from integrand.datamodules.acquire.archives import read_members
from integrand.datamodules.acquire.digests import check, content_digests
from integrand.datamodules.formats import FORMATS, Arrays, npz
from integrand.datamodules.images.split import stratified

SEED = 0
SIZES = {"train": 6000, "test": 1000}


def choose(arrays: Arrays) -> Arrays:
    """The chosen rows of both splits."""
    mini: Arrays = {}
    for split, size in SIZES.items():
        _, rows = stratified(arrays[f"{split}_labels"], size, SEED)
        mini |= {f"{split}_{part}": arrays[f"{split}_{part}"][rows] for part in ("images", "labels")}
    return mini


def main() -> None:
    """Read the Debian package, check it, and write the file beside this script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("deb", type=Path, help="the downloaded dataset-fashion-mnist package")
    options = parser.parse_args()
    full, mini = find_card("fashion-mnist"), find_card("fashion-mini")
    source = full.source("apt")
    assert source is not None  # the card is ours
    members = read_members(options.deb, source.prefix, FORMATS["idx"].members)
    arrays = FORMATS["idx"].read(members.pop)
    check(full, content_digests(full, arrays), str(options.deb))
    chosen = choose(arrays)
    digests = content_digests(mini, chosen)
    path = Path(__file__).with_name(mini.file_name)
    npz.write_small(
        path, chosen, {"name": mini.name, "digests": digests, "origin": options.deb.name, "seed": SEED}
    )
    pixels = chosen["train_images"].astype(np.float64) / 255
    print(f"{path.name}: {path.stat().st_size} bytes, mean {pixels.mean():.4f}, std {pixels.std():.4f}")
    for part, digest in digests.items():
        print(part, digest)


if __name__ == "__main__":
    main()
