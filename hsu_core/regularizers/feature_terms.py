"""What does a regularizer add for one batch of features, the inputs of the classifier? Lower is always better.

Knows the classifier, the batch that it saw last, and where the classes of its examples are given. Knows no weights of a
penalty, no schedule and no other layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, assert_never

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from hsu_core import baselines, class_gap, dispersion, spec
from hsu_core.fast.directions import computable
from hsu_core.ranks import World
from hsu_core.regularizers.layers import Layer
from hsu_core.regularizers.terms import Draw, LayerTerm, StepContext, Term, vectors
from hsu_core.spec import plugins


class FeatureLoss(NamedTuple):
    """A loss of features, and what it draws for them, which is then its second argument."""

    of: Callable[..., Tensor]
    draw: Draw | None = None


class Classes(NamedTuple):
    """The classes of the last batch's examples, as far as they are known."""

    of: Int64[Tensor, " n"]
    """Rows of the classifier's weights."""
    rows: Int64[Tensor, " n"] | slice = slice(None)
    """Which rows of the features are theirs."""


class Caught(Term):
    """A function of the last batch's features: the inputs of the classifier, caught by a hook.

    It is of the whole batch: there are also pairs between the parts of different ranks, which `world` gathers.
    """

    def __init__(self, layer: Layer, seed: int, *, world: World) -> None:
        super().__init__(layer, seed)
        self.world = world
        self.features: Tensor | None = None
        self._listen(layer.module)

    def points(self) -> Float[Tensor, "n d"]:
        """The features. RuntimeError before the model, or its new classifier, has seen a batch."""
        if (classifier := self.layer.module) is not self.heard[0]:
            self._listen(classifier)
        if self.features is None:
            raise RuntimeError(
                "a penalty on features needs a batch: call the model first, in training mode; "
                f"they are caught where they enter {self.layer.name or 'the model'}"
            )
        return self.features

    def _listen(self, classifier: nn.Module) -> None:
        """Attach the hook; another module may have replaced the classifier."""
        self.heard = (classifier,)  # in a tuple, so that it is not a submodule
        self.features = None
        classifier.register_forward_pre_hook(self._catch, with_kwargs=True)

    def _catch(self, module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        if module.training and module is self.heard[0]:
            caught = inputs[0] if inputs else named["input"]
            self.features = caught.flatten(start_dim=1)


class OfFeatures(Caught):
    """A function of the features alone."""

    def __init__(self, layer: Layer, seed: int, *, loss: FeatureLoss, world: World) -> None:
        super().__init__(layer, seed, world=world)
        self.loss = loss

    def forward(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, ""]:
        """The loss of the features, with what is drawn at this step if it draws."""
        features = self.world.gathered(computable(w))
        if self.loss.draw is None:
            return self.loss.of(features)
        drawn = self.loss.draw(features.detach(), self.generator(f"draws/{at.step}", features.device))
        return self.loss.of(features, drawn)


class OfClasses(Caught):
    """A function of the features, their classes, and the class vectors: the neurons of the classifier."""

    def __init__(self, layer: Layer, seed: int, *, within: float, world: World) -> None:
        super().__init__(layer, seed, world=world)
        self.within = within

    def beside(self, classes: Classes | None) -> Float[Tensor, "m d"]:
        """The class vectors, then the features, then the class vector of each: all that the value depends on.

        ValueError without classes.
        """
        if classes is None:
            raise ValueError("a penalty on classes needs those of the batch: expected penalty(step, classes=…)")
        class_vectors, features = self.layer.points(), self.points()
        return torch.cat([class_vectors, features[classes.rows], class_vectors[classes.of]])

    def forward(self, w: Float[Tensor, "m d"], _at: StepContext) -> Float[Tensor, ""]:
        """The value of what `beside` gives."""
        w = computable(w)
        count = self.layer.shape[0]
        features, own = (self.world.gathered(part) for part in w[count:].chunk(2))
        return class_gap.uniformity_gap(w[:count], features, own, within=self.within)


FeatureTerm = OfFeatures | OfClasses
"""Every kind of term of a batch of features."""
AnyTerm = LayerTerm | FeatureTerm
"""Every kind of term."""


def feature_term(chosen: spec.FeatureRegularizer, layer: Layer, *, seed: int, world: World) -> FeatureTerm:
    """The term of a regularizer on features, the inputs of the classifier."""
    if isinstance(chosen, spec.HUG):
        return OfClasses(layer, seed, within=chosen.within, world=world)
    return OfFeatures(layer, seed, loss=_loss(chosen), world=world)


def _loss(chosen: spec.FeatureBaseline | spec.FeatureDispersion | spec.PluginFeaturePenalty) -> FeatureLoss:
    match chosen:
        case spec.Uniformity(t=t):
            return FeatureLoss(partial(baselines.uniformity, t=t))
        case spec.KoLeo():
            return FeatureLoss(baselines.koleo)
        case spec.WassersteinUniformity():
            return FeatureLoss(dispersion.wasserstein_uniformity)
        case spec.SlicedGaussian(directions=count):
            return FeatureLoss(dispersion.sliced_gaussian, partial(vectors, count))
        case spec.PluginFeaturePenalty():
            return FeatureLoss(plugins.built_by(chosen.builder)(chosen))
        case _:
            assert_never(chosen)
