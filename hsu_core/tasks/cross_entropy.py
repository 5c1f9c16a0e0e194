"""How large is the loss of a batch whose right classes are known?"""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from hsu_core import spec


def mean_cross_entropy(
    logits: Float[Tensor, "n classes"], classes: Int64[Tensor, " n"], how: spec.CrossEntropy
) -> Float[Tensor, ""]:
    """−Σ q ln(softmax + floor), the mean over examples; q = (1 − s)·(the right class) + s/classes with smoothing s."""
    if not how.softmax_floor:
        return cross_entropy(logits, classes, label_smoothing=how.label_smoothing)
    log = (logits.softmax(dim=1) + how.softmax_floor).log()
    right = log.gather(1, classes[:, None])[:, 0]
    return -((1 - how.label_smoothing) * right + how.label_smoothing * log.mean(dim=1)).mean()
