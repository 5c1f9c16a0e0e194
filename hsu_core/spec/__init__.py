"""What may be asked for: one frozen tree of values, the same over HTTP, in files, in Python, in Postgres.

Knows names, ranges and what fits with what. Knows no tensors (importing it costs no torch) and no files.
Every union is discriminated by `kind`, and an unknown key is an error with a path.
"""

from hsu_core.spec.baselines import DSO, MMA, SO, SRIP, CoMHE, KoLeo, MutualCoherence, Uniformity
from hsu_core.spec.datasets import CIFAR10, CIFAR100, MNIST, Dataset, Digits, Facts, FashionMNIST
from hsu_core.spec.family import MGD, MHC, MHE, MHP, MHS, RMHP, AuthorsPole, FreshPoles, Inner, NoRegularizer
from hsu_core.spec.models import CNN9, MLP, Model, SmallCNN
from hsu_core.spec.objectives import (
    Covering,
    GramDeterminant,
    Objective,
    Polarization,
    Riesz,
    Separation,
    SphereObjective,
)
from hsu_core.spec.penalties import (
    About,
    Decay,
    FeaturePenalty,
    LayerPenalty,
    Penalty,
    SpherePenalty,
    Steady,
    WarmUp,
    WeightSchedule,
)
from hsu_core.spec.points import PointsSpec
from hsu_core.spec.regularizers import Regularizer
from hsu_core.spec.training import (
    MEASURES,
    SGD,
    AdamW,
    Checkpoint,
    Constant,
    Cosine,
    Duration,
    Evaluate,
    Measure,
    Optimizer,
    Record,
    Schedule,
    StepDecay,
    TrainingSpec,
)
from hsu_core.spec.values import Spec

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "CNN9",
    "DSO",
    "MEASURES",
    "MGD",
    "MHC",
    "MHE",
    "MHP",
    "MHS",
    "MLP",
    "MMA",
    "MNIST",
    "RMHP",
    "SGD",
    "SO",
    "SRIP",
    "About",
    "AdamW",
    "AuthorsPole",
    "Checkpoint",
    "CoMHE",
    "Constant",
    "Cosine",
    "Covering",
    "Dataset",
    "Decay",
    "Digits",
    "Duration",
    "Evaluate",
    "Facts",
    "FashionMNIST",
    "FeaturePenalty",
    "FreshPoles",
    "GramDeterminant",
    "Inner",
    "KoLeo",
    "LayerPenalty",
    "Measure",
    "Model",
    "MutualCoherence",
    "NoRegularizer",
    "Objective",
    "Optimizer",
    "Penalty",
    "PointsSpec",
    "Polarization",
    "Record",
    "Regularizer",
    "Riesz",
    "Schedule",
    "Separation",
    "SmallCNN",
    "Spec",
    "SphereObjective",
    "SpherePenalty",
    "Steady",
    "StepDecay",
    "TrainingSpec",
    "Uniformity",
    "WarmUp",
    "WeightSchedule",
]
