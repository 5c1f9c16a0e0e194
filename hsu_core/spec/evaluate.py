"""What is measured of a trained network, beside accuracy and loss? Options, each measured once, after the last step.

Knows names and ranges, and why a task cannot have an option. `hsu_core/evaluations` measures.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from hsu_core.spec.values import WHOLE, Count, Real, Spec, at_most, left_out_at

__all__ = [
    "FGSM",
    "PGD",
    "Attack",
    "Attacks",
    "Calibration",
    "CorruptionKind",
    "Corruptions",
    "Evaluate",
    "FeatureMeasure",
    "Features",
    "Refusal",
]


def _distinct(values: Sequence[Hashable]) -> Sequence[Hashable]:
    if len(set(values)) < len(values):
        shown = ", ".join(map(str, values))
        raise PydanticCustomError("repeated", "expected each only once, found {shown}", {"shown": shown})
    return values


_ONCE = AfterValidator(_distinct)


class Calibration(Spec):
    """Whether the predicted probabilities are right, over the test set: `ece`, `brier` and `nll` of the result."""

    bins: Annotated[int, Field(ge=1, le=1000), WHOLE] = 15
    """Equal intervals of confidence for the expected calibration error (Guo et al. 2017, arXiv 1706.04599)."""


class FGSM(Spec):
    """One step along the sign of the gradient (Goodfellow et al. 2015, arXiv 1412.6572)."""

    kind: Literal["fgsm"] = "fgsm"


class PGD(Spec):
    """Many steps along the sign of the gradient, projected back (Madry et al. 2018, arXiv 1706.06083).

    It starts at a random point of the ball; a step is 2.5·ε/`steps` long, ε at most.
    """

    kind: Literal["pgd"] = "pgd"
    steps: Annotated[int, Field(ge=1, le=1000), WHOLE] = 20


Attack = Annotated[FGSM | PGD, Field(discriminator="kind")]


def _one_of_a_kind(attacks: tuple[FGSM | PGD, ...]) -> tuple[FGSM | PGD, ...]:
    _distinct([attack.kind for attack in attacks])
    return attacks


Radius = Annotated[Real, Field(ge=0, le=1)]


class Attacks(Spec):
    """The accuracy on test images that were changed to be misclassified: `adversarial` of the result.

    No pixel moves by more than ε, and pixels stay between 0 (black) and 1 (white). The attacker knows the weights and
    the true class.
    """

    methods: Annotated[
        tuple[Attack, ...], Field(min_length=1, max_length=2), at_most(2), AfterValidator(_one_of_a_kind)
    ] = (FGSM(), PGD())
    """Each kind at most once."""
    epsilons: Annotated[tuple[Radius, ...], Field(min_length=1, max_length=16), at_most(16), _ONCE] = (
        2 / 255,
        4 / 255,
        8 / 255,
    )
    """How far a pixel may move, of the range from black to white. 0 leaves the images as they are."""
    examples: Count | None = None
    """How many test images are attacked, the first ones; by default all."""


CorruptionKind = Literal[
    "gaussian_noise", "shot_noise", "impulse_noise", "gaussian_blur", "contrast", "brightness", "pixelate"
]
CORRUPTIONS: tuple[CorruptionKind, ...] = CorruptionKind.__args__  # type: ignore[attr-defined]
Severity = Annotated[int, Field(ge=1, le=5), WHOLE]


class Corruptions(Spec):
    """The accuracy on corrupted test images: `corruptions` of the result (Hendrycks and Dietterich 2019, 1903.12261).

    The images are made here, from the seed, with the constants of CIFAR-10-C for every size of image.
    """

    kinds: Annotated[tuple[CorruptionKind, ...], Field(min_length=1, max_length=7), at_most(7), _ONCE] = CORRUPTIONS
    severities: Annotated[tuple[Severity, ...], Field(min_length=1, max_length=5), at_most(5), _ONCE] = (1, 2, 3, 4, 5)


FeatureMeasure = Literal["alignment", "uniformity", "effective_rank", "neural_collapse", "linear_probe"]
FEATURE_MEASURES: tuple[FeatureMeasure, ...] = FeatureMeasure.__args__  # type: ignore[attr-defined]


class Features(Spec):
    """How the features, the inputs of the classifier, lie in space.

    In the result: `alignment`, `uniformity`, `effective_rank`, `nc1` to `nc4` and `linear_probe_accuracy`.
    """

    measures: Annotated[tuple[FeatureMeasure, ...], Field(min_length=1, max_length=5), at_most(5), _ONCE] = (
        FEATURE_MEASURES
    )
    of: Literal["test", "train"] = "test"
    """Whose features are measured; neural collapse was described on training data. The linear probe is always trained
    on the features of the training set and judged on those of the test set."""


class Evaluate(Spec):
    """When the test set is evaluated, and what else is measured at the end. It is always evaluated at the end.

    Each option is measured once, after the last step, and is off by default; a quote tells what it costs.
    """

    every: Count | None = None
    """Steps between two evaluations; by default there is one after every epoch."""
    calibration: Annotated[Calibration | None, left_out_at(None)] = None
    """Whether the predicted probabilities are right."""
    attacks: Annotated[Attacks | None, left_out_at(None)] = None
    """The accuracy under attack. Images only."""
    corruptions: Annotated[Corruptions | None, left_out_at(None)] = None
    """The accuracy on corrupted images. Images only."""
    features: Annotated[Features | None, left_out_at(None)] = None
    """How the inputs of the classifier lie in space."""

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options that are asked for."""
        return tuple(name for name in OPTIONS if getattr(self, name) is not None)


PROBE_STEPS = 500
"""The largest number of steps of the linear probe's optimizer."""
OPTIONS = ("calibration", "attacks", "corruptions", "features")


class Refusal(NamedTuple):
    """Why a task cannot have an option."""

    code: str
    reason: str


NO_PIXELS = {
    "attacks": Refusal("no_pixels", "an attack on a task that has no pixels: it moves the pixels of an image"),
    "corruptions": Refusal("no_pixels", "corruptions on a task that has no pixels: they change the pixels of an image"),
}
NO_CLASSES = NO_PIXELS | {
    "calibration": Refusal("no_classes", "calibration of a task that has no classes: it is of their probabilities"),
    "features": Refusal("no_classes", "features of a task that has no classifier: they are its inputs"),
}
