"""The loss of an attacked network over the steps of the attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .drawing import Picture, finish, new_axes
from .palette import colour_and_marker


def attack_figure(lines: Mapping[str, Sequence[float]]) -> Picture:
    """Mean loss against the step of the attack.

    Args:
        lines: Mean loss before every step, by attack.
    """
    figure, axes = new_axes()
    said = []
    for index, (label, losses) in enumerate(lines.items()):
        colour, marker = colour_and_marker(index)
        axes.plot(losses, color=colour, marker=marker, markersize=3, label=label)
        said.append(f"{label} from {losses[0]:.3g} to {losses[-1]:.3g}")
    axes.set_xlabel("step of the attack")
    axes.set_ylabel("mean loss of what it climbs (nats)")
    axes.legend(frameon=False, fontsize=7)
    return finish(figure, "attack_loss", f"Mean loss over the steps of an attack: {'; '.join(said)}.")
