"""How well a score tells inputs of one data set from those of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import Tensor


@dataclass(frozen=True)
class Detection:
    """What a score that is larger for what is known tells.

    Args:
        auroc: P(score in > score out) + ½ P(equal).
        aupr_in: Average precision with the known set as the positive class; it depends on the sizes of both.
        aupr_out: With the other set as the positive class, and the score turned round.
        tnr95: Share of the other set below the largest threshold that at least 95 % of the known set reach.
        detection_error: Half the sum of both errors at the best threshold.
    """

    auroc: float
    aupr_in: float
    aupr_out: float
    tnr95: float
    detection_error: float


def detection(known: Tensor, other: Tensor) -> Detection:
    """How well a score tells the known set from another one (Hendrycks and Gimpel 2017).

    Args:
        known: Scores of the known set, shape (n,), larger for what is known.
        other: Scores of the other set, shape (m,).
    """
    scores = np.concatenate([_array(known), _array(other)])
    truth = np.repeat([1, 0], [len(known), len(other)])
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    return Detection(
        auroc=float(roc_auc_score(truth, scores)),
        aupr_in=float(average_precision_score(truth, scores)),
        aupr_out=float(average_precision_score(1 - truth, -scores)),
        # in the order of falling thresholds the first one that enough of the known set reach
        tnr95=float(1 - fpr[np.argmax(tpr >= 0.95)]),
        detection_error=float(((1 - tpr + fpr) / 2).min()),
    )


def _array(scores: Tensor) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = scores.detach().double().cpu().numpy()
    return array
