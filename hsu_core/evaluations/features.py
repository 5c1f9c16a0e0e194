"""How do features lie in space? Alignment, uniformity and effective rank; what a linear classifier finds in them.

Knows (n, d) tensors with a row for each example. Neural collapse has a file of its own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import assert_never

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from hsu_core import spec
from hsu_core.evaluations import collapse
from hsu_core.evaluations.passes import Seen
from hsu_core.spec.evaluate import PROBE_STEPS

BLOCK = 2**24
"""Pairs at once, of which 128 MiB are needed for each intermediate result."""


def measure(asked: spec.Features, parts: Mapping[str, Seen], weight: Float[Tensor, "classes d"]) -> dict[str, float]:
    """The chosen measures. `parts`: what the network makes of training and test; `weight`: the classifier's."""
    found, metrics = parts[asked.of], dict[str, float]()
    for name in asked.measures:
        match name:
            case "alignment":
                metrics[name] = alignment(found.features, found.classes).item()
            case "uniformity":
                metrics[name] = uniformity(found.features).item()
            case "effective_rank":
                metrics[name] = effective_rank(found.features).item()
            case "neural_collapse":
                metrics |= collapse.measure(found, weight)
            case "linear_probe":
                metrics["linear_probe_accuracy"] = linear_probe(parts["train"], parts["test"])
            case _:
                assert_never(name)
    return metrics


def alignment(features: Float[Tensor, "n d"], classes: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of ‖xᵢ − xⱼ‖² over the pairs of one class, x normalised: from 0, all equal, to 4. NaN without pairs.

    Wang and Isola 2020 (arXiv 2005.10242), with α = 2, where a positive pair is two examples of a class.
    """
    x = normalize(features.double(), dim=1)
    n = int(classes.max()) + 1
    counts = torch.bincount(classes, minlength=n).double()
    sums = x.new_zeros(n, x.shape[1]).index_add_(0, classes, x)
    squares = x.new_zeros(n).index_add_(0, classes, x.square().sum(dim=1))
    of_pairs = counts * squares - sums.square().sum(dim=1)  # Σ over i < j of ‖xᵢ − xⱼ‖²
    return of_pairs.clamp_min(0).sum() / (counts * (counts - 1) / 2).sum()


def uniformity(features: Float[Tensor, "n d"], *, t: float = 2.0) -> Float[Tensor, ""]:
    """Ln of the mean over pairs i < j of exp(−t ‖xᵢ − xⱼ‖²), x normalised: between −4t and 0. NaN for one row.

    Wang and Isola 2020 (arXiv 2005.10242). In blocks, so memory grows with n and not with n².
    """
    x = normalize(features.double(), dim=1)
    n, total = len(x), x.new_zeros(())
    squares = x.square().sum(dim=1)
    at_once = max(1, BLOCK // n)
    for first in range(0, n, at_once):
        rows = slice(first, first + at_once)
        near = (squares[rows, None] + squares - 2 * x[rows] @ x.T).clamp_min_(0).mul_(-t).exp_()
        total += near.sum() - near.diagonal(first).sum()  # without the pairs of a row with itself
    return (total / (n * (n - 1))).log() if n > 1 else x.new_tensor(math.nan)


def effective_rank(features: Float[Tensor, "n d"], *, eps: float = 1e-7) -> Float[Tensor, ""]:
    """RankMe: exp(−Σ pₖ ln pₖ), pₖ = σₖ/Σσ + ε, σ the singular values: from 1 to min(n, d). NaN if all are zero.

    Garrido et al. 2023 (arXiv 2210.02885), eq. 1 and 2. The features are neither centred nor normalised.
    """
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum() + eps
    return torch.exp(-(shares * shares.log()).sum())


def linear_probe(train: Seen, test: Seen) -> float:
    """Test accuracy of a logistic regression on the training features, which are standardised first.

    By scikit-learn, with its weight of the L2 term (C = 1). It says what the features tell of the classes, whatever the
    network's own classifier makes of them (Alain and Bengio 2017, arXiv 1610.01644).
    """
    from sklearn.exceptions import ConvergenceWarning  # half a second that other measures do not need
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_STEPS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # then it is as good as after so many steps
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        probe.fit(train.features.cpu().numpy(), train.classes.cpu().numpy())
    return float(probe.score(test.features.cpu().numpy(), test.classes.cpu().numpy()))
