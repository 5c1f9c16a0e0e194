"""How far are the neurons of a layer from being orthogonal? The formula of the regularizer and of the measure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hsu_example.specs import HsuExampleFrame


def penalty(_chosen: HsuExampleFrame) -> Callable[[Tensor], Tensor]:
    """The function of a layer's neurons that the spec asks for; it has no parameters."""
    return frame_potential


def frame_potential(w: Tensor) -> Tensor:
    """The mean squared cosine of two rows of w (n, d); NaN for a single row."""
    x = torch.nn.functional.normalize(w, dim=1)
    cosine = x @ x.T
    n = len(x)
    return (cosine.square().sum() - cosine.diagonal().square().sum()) / (n * (n - 1)) if n > 1 else w.sum() * torch.nan
