"""A paper estimate of data-parallel training on many GPUs: `python -m integrand.benchmarks.scaling`.

Nothing is run. A step of N GPUs takes the slowest GPU's computing and the part of the gradient's exchange
that computing does not hide::

    T(N) = c · (1 + v · m(N)) + max(0, A(N) - h · b · c) + o

with the step c of one GPU, of which the share b is the backward pass; the coefficient of variation v of a
GPU's step, caused by adaptive solvers that need another number of evaluations on each batch; the expected
maximum m(N) of N standard normal values; the exchange A(N); the part h of the backward pass behind which
it can hide; and the overhead o of a step in several processes. The exchange is a ring's (Patarasuk and
Yuan, 2009, Bandwidth optimal all-reduce algorithms, section 3): every GPU sends and receives
2 (N - 1) / N of the S bytes of the gradient over its slowest link, in 2 (N - 1) messages::

    A(N) = 2 (N - 1) / N · S / B + 2 (N - 1) · l

The efficiency is c / T(N) at a fixed batch per GPU (weak scaling).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import integrate, stats

SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Link:
    """What connects GPUs.

    Args:
        bandwidth: Bytes per second and direction of one GPU's share.
        latency: Seconds per message.
    """

    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Training:
    """A training on one GPU.

    Args:
        step: Seconds of a step, c.
        parameters: Number of parameters.
        variation: Coefficient of variation of a GPU's step, v; 0 for a fixed number of evaluations.
        bytes_per_parameter: Of the gradient.
        backward: Share of the backward pass in a step, b.
        hidden: Part of the backward pass behind which the exchange hides, h. DDP sends buckets of 25 MB as
            they are ready, so nothing of the only bucket of a small model.
        overhead: Seconds that a step in several processes takes more, o.
    """

    step: float
    parameters: float
    variation: float = 0.0
    bytes_per_parameter: float = 4.0
    backward: float = 2 / 3
    hidden: float = 0.0
    overhead: float = 0.0


def expected_maximum(n: int) -> float:
    """Expected maximum of n independent standard normal values, in standard deviations."""
    if n == 1:
        return 0.0
    value, _ = integrate.quad(
        lambda x: x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1), -np.inf, np.inf
    )
    return float(value)


def exchange_seconds(n: int, size: float, link: Link) -> float:
    """A ring all-reduce of `size` bytes over n GPUs."""
    return 2 * (n - 1) / n * size / link.bandwidth + 2 * (n - 1) * link.latency


def step_seconds(n: int, training: Training, inside: Link, between: Link, per_node: int) -> float:
    """A step of n GPUs.

    Args:
        n: Number of GPUs.
        training: The training on one of them.
        inside: Link between GPUs of a node.
        between: Link between nodes; the slowest link of a ring that leaves a node.
        per_node: GPUs of a node.
    """
    if n == 1:
        return training.step
    link = inside if n <= per_node else between
    exchange = exchange_seconds(n, training.parameters * training.bytes_per_parameter, link)
    left = max(0.0, exchange - training.hidden * training.backward * training.step)
    slowest = training.step * (1 + training.variation * expected_maximum(n))
    return slowest + left + training.overhead


def efficiency(n: int, training: Training, inside: Link, between: Link, per_node: int) -> float:
    """Speed per GPU against that of one GPU alone."""
    return training.step / step_seconds(n, training, inside, between, per_node)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the efficiency for 1 to 64 GPUs."""
    parser = argparse.ArgumentParser(
        prog="python -m integrand.benchmarks.scaling", description="Paper estimate of DDP on 1 to 64 GPUs."
    )
    parser.add_argument("--step", type=float, required=True, metavar="S", help="seconds of a step of one GPU")
    parser.add_argument("--parameters", type=float, required=True, metavar="N", help="number of parameters")
    parser.add_argument(
        "--variation", type=float, default=0.0, metavar="V", help="spread of a step over its mean, default: 0"
    )
    parser.add_argument("--hidden", type=float, default=0.0, metavar="H", help="0 to 1, default: 0")
    parser.add_argument("--overhead", type=float, default=1e-3, metavar="S", help="seconds, default: 0.001")
    parser.add_argument(
        "--inside", type=float, default=100e9, metavar="B", help="bytes/s inside a node, default: 100e9"
    )
    parser.add_argument(
        "--between", type=float, default=3e9, metavar="B", help="bytes/s per GPU between nodes, default: 3e9"
    )
    parser.add_argument("--per-node", type=int, default=8, metavar="N", help="GPUs of a node, default: 8")
    args = parser.parse_args(argv)
    training = Training(
        args.step, args.parameters, args.variation, hidden=args.hidden, overhead=args.overhead
    )
    inside, between = Link(args.inside, 5e-6), Link(args.between, 20e-6)
    print("GPUs  step      efficiency  speed-up")
    for n in SIZES:
        seconds = step_seconds(n, training, inside, between, args.per_node)
        part = args.step / seconds
        print(f"{n:4}  {1000 * seconds:6.1f} ms  {part:9.0%}  {n * part:8.1f}")


if __name__ == "__main__":
    main()
