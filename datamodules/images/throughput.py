"""How fast batches are made: python -m integrand.datamodules.images.throughput [NAME …] [--batch-size N].

CPU time per image is the figure to compare, since it does not suffer from other work on the machine.
"""

from __future__ import annotations

import argparse
import time

import torch

from ..registry import find_card, load_class
from .base import ImageDataModule


def measure(data: ImageDataModule, epochs: int = 3) -> dict[str, float]:
    """Read the training loader as fast as it goes.

    Args:
        data: A datamodule whose `setup` has run.
        epochs: Passes that are timed, after one that is not.

    Returns:
        `cpu_us_per_image`: processor time of the process, median of the passes; `images_per_second`: by the
        clock, best of the passes.
    """
    loader = data.train_dataloader()
    cpu: list[float] = []
    wall: list[float] = []
    for _ in range(1 + epochs):
        started, clock, images = time.process_time(), time.perf_counter(), 0
        for x, _y in loader:
            images += len(x)
        cpu.append((time.process_time() - started) / images * 1e6)
        wall.append(images / (time.perf_counter() - clock))
    return {"cpu_us_per_image": sorted(cpu[1:])[epochs // 2], "images_per_second": max(wall[1:])}


def main() -> None:
    """Measure data sets with and without their standard augmentation and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=["fashion-mini"], metavar="NAME")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'data set':16}{'augment':10}{'setup s':>8}{'CPU µs/image':>14}{'images/s':>10}")
    for name in options.names:
        for augment in ("standard", None):
            data = load_class(find_card(name))(batch_size=options.batch_size, augment=augment)
            started = time.perf_counter()
            data.setup()
            ready = time.perf_counter() - started
            found = measure(data)
            print(
                f"{name:16}{augment or 'none':10}{ready:8.2f}{found['cpu_us_per_image']:14.2f}"
                f"{found['images_per_second']:10,.0f}"
            )


if __name__ == "__main__":
    main()
