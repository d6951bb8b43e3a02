"""Which classes are taken for which."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes


def confusion_figure(counts: npt.NDArray[np.int64], class_names: tuple[str, ...], stage: str) -> Picture:
    """The confusion matrix, rows normalised to the true class.

    Args:
        counts: Samples of true class i predicted as class j, shape (classes, classes).
        class_names: Names in label order; empty for numbers.
        stage: `val` or `test`, for the title and the file name.
    """
    classes = len(counts)
    labels = list(class_names) or [str(i) for i in range(classes)]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(3.2 + 0.28 * classes, 12.0)
    figure, axes = new_axes(size + 0.6, size)
    axes.grid(visible=False)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if classes <= 20:
        axes.set_xticks(range(classes), labels, rotation=45, ha="right", fontsize=7)
        axes.set_yticks(range(classes), labels, fontsize=7)
        for i in range(classes):
            for j in range(classes):
                if counts[i, j]:
                    colour = "white" if share[i, j] > 0.5 else "black"
                    axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=6, color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    total = int(counts.sum())
    accuracy = float(np.trace(counts) / max(total, 1))
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    description = f"Confusion matrix of {total} {stage} samples, accuracy {accuracy:.1%}."
    if wrong.any():
        true, said = divmod(int(wrong.argmax()), classes)
        description += (
            f" Most frequent mistake: {labels[true]} taken for {labels[said]}, {wrong[true, said]} times."
        )
    return finish(figure, f"confusion_{stage}", description)
