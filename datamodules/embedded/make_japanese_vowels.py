"""Make `japanese-vowels.npz` from the wheel of aeon, the same bytes of content every time.

pip download --no-deps --only-binary=:all: aeon==1.6.0
python datamodules/embedded/make_japanese_vowels.py aeon-1.6.0-py3-none-any.whl
"""

from __future__ import annotations

import argparse
from pathlib import Path

from integrand.datamodules import find_card
from integrand.datamodules.acquire.archives import read_members
from integrand.datamodules.acquire.digests import check, content_digests
from integrand.datamodules.formats import FORMATS, npz


def main() -> None:
    """Read the wheel, check its content, and write the file beside this script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path, help="the downloaded wheel of aeon")
    options = parser.parse_args()
    card = find_card("japanese-vowels")
    source = card.source("pip")
    assert source is not None  # the card is ours
    format = FORMATS[source.format]
    arrays = format.read(read_members(options.wheel, source.prefix, format.members).pop)
    digests = content_digests(card, arrays)
    check(card, digests, str(options.wheel))
    path = Path(__file__).with_name(card.file_name)
    npz.write_small(path, arrays, {"name": card.name, "digests": digests, "origin": options.wheel.name})
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
