"""Are the predicted probabilities right? ECE, Brier score, negative log likelihood."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from hsu_core import spec
from hsu_core.evaluations.passes import Seen


def measure(asked: spec.Calibration, found: Seen) -> dict[str, float]:
    """`ece`, `brier` and `nll`, in float64; lower is better in each."""
    logits, classes = found.logits.double(), found.classes
    probabilities = logits.softmax(dim=1)
    return {
        "ece": calibration_error(probabilities, classes, bins=asked.bins).item(),
        "brier": brier(probabilities, classes).item(),
        "nll": cross_entropy(logits, classes).item(),
    }


def calibration_error(
    probabilities: Float[Tensor, "n classes"], classes: Int64[Tensor, " n"], *, bins: int
) -> Float[Tensor, ""]:
    """Σ over bins of (examples of the bin)/n · |their accuracy − their mean confidence|, between 0 and 1.

    The confidence of an example is its largest probability; bins are equal intervals. Guo et al. 2017 (arXiv
    1706.04599), eq. 3, by torchmetrics.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error  # about a second

    error: Tensor = multiclass_calibration_error(
        probabilities, classes, num_classes=probabilities.shape[1], n_bins=bins, norm="l1"
    )
    return error


def brier(probabilities: Float[Tensor, "n classes"], classes: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean over examples of Σ over classes of (probability − 1 if it is the true class)²: from 0 to 2. Brier 1950."""
    truth = one_hot(classes, probabilities.shape[1]).to(probabilities)
    return torch.sum((probabilities - truth).square(), dim=1).mean()
