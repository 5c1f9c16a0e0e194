"""What may stand under `regularizer` in a spec?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hsu_core.spec.baselines import DSO, MMA, SO, SRIP, CoMHE, KoLeo, MutualCoherence, Uniformity
from hsu_core.spec.family import MGD, MHC, MHE, MHP, MHS, RMHP, NoRegularizer

Regularizer = Annotated[
    NoRegularizer
    | MHE
    | MHS
    | MHP
    | RMHP
    | MHC
    | MGD
    | SO
    | DSO
    | MutualCoherence
    | SRIP
    | MMA
    | CoMHE
    | Uniformity
    | KoLeo,
    Field(discriminator="kind"),
]
