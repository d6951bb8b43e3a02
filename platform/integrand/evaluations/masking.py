"""Signs that an attack fails because gradients are masked, and not because a network is robust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

SLACK = 0.02
"""Share of images, at least two of them, by which one attack may seem weaker than another by chance."""


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: What has to hold.
        holds: Whether it does.
        seen: The numbers.
    """

    name: str
    holds: bool
    seen: str


def checks(
    seen: Mapping[str, float], losses: Mapping[str, Sequence[float]], attack: str, flat: float, n: int
) -> list[Check]:
    """The checks of Athalye et al. (2018) and Carlini et al. (2019) that the attacks made allow.

    Args:
        seen: Accuracy by label of the attack.
        losses: Mean loss before every step by label.
        attack: The iterated attack, such as `pgd-20`.
        flat: Share of images without a gradient.
        n: Number of images.
    """
    slack = max(SLACK, 2 / n)
    return [
        *_no_stronger(seen, attack, slack),
        *_of_itself(losses[f"{attack} linf"], seen["whole range linf"], flat, slack),
    ]


def _no_stronger(seen: Mapping[str, float], attack: str, slack: float) -> Iterator[Check]:
    """Attacks that know less are no stronger."""
    weaker = {
        "fgsm linf": "one step is no stronger than many",
        "transfer linf": "images made on another network deceive no more",
        "one draw linf": "the gradient of one draw deceives no more than that of their mean",
        "finer steps linf": "images made through finer steps of the solver deceive no more",
    }
    own = seen[f"{attack} linf"]
    for label, name in weaker.items():
        if label in seen:
            words = f"accuracy {seen[label]:.3f} against {own:.3f} under {attack}"
            yield Check(name, seen[label] >= own - slack, words)


def _of_itself(losses: Sequence[float], whole: float, flat: float, slack: float) -> Iterator[Check]:
    """The attack by itself."""
    rise = f"{losses[0]:.3g} to {losses[-1]:.3g}"
    yield Check("the loss rises with the steps", losses[-1] > losses[0], rise)
    yield Check("a ball that holds every image leaves nothing", whole <= slack, f"accuracy {whole:.3f}")
    yield Check("images have gradients", flat <= 0.05, f"a share of {flat:.3f} has none")
