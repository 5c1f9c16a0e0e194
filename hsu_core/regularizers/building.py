"""Which layers does a regularizer act on in this model, and with which weights? The penalty is built of them.

Knows specs, layers and the classifier. Knows no steps and no values: `penalty.py` does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from hsu_core import spec
from hsu_core.ranks import ALONE, World
from hsu_core.regularizers import classifier
from hsu_core.regularizers.feature_terms import feature_term
from hsu_core.regularizers.layers import Layer, OwnLayer, OwnPoints, chosen, layers, own_layers, read, unread
from hsu_core.regularizers.penalty import Penalty
from hsu_core.regularizers.terms import layer_term


def build(
    regularizer: spec.Regularizer,
    model: nn.Module,
    *,
    seed: int = 0,
    total_steps: int | None = None,
    final: str | Collection[str] | None = None,
    points: Sequence[OwnPoints] = (),
    world: World = ALONE,
) -> Penalty:
    """The penalty of this spec on this model; a loop only needs `loss + penalty(step)`.

    `final` names the classifier, or several, or with `()` none; by default it is the layer that produces the model's
    outputs. `points` are further points, computed from the model: patterns match their names as those of layers.
    `total_steps` is the length of the training, for a weight that changes.

    ValueError for a layer pattern that matches nothing; for a model without layers, with only frozen layers or layers
    too small to be spread, or with a lazy layer; if the classifier matters and is neither named nor found; for a
    schedule without `total_steps`.
    """
    penalty = Penalty(regularizer, model, total_steps=_length(regularizer, total_steps))
    if isinstance(regularizer, spec.NoRegularizer):
        return penalty
    found = _found(regularizer, model, final, points)
    if isinstance(regularizer, spec.FeaturePenalty):
        penalty.add(feature_term(regularizer, _classifier(found), seed=seed, world=world), regularizer.weight)
        if regularizer.needs_classes:
            penalty.watch()
        trainable = any(parameter.requires_grad for parameter in model.parameters())
    else:
        _add_layers(penalty, regularizer, found, seed)
        trainable = not penalty.layers or not all(layer.is_frozen for layer in penalty.layers)
        penalty.watch()
    if not trainable:
        raise ValueError(
            f"{regularizer.kind} has nothing to move: expected a model with trainable weights, found all frozen "
            "(requires_grad=False)"
        )
    return penalty


def _length(regularizer: spec.Regularizer, total_steps: int | None) -> int:
    if total_steps is not None:
        return total_steps
    if not isinstance(regularizer, spec.NoRegularizer) and not isinstance(regularizer.schedule, spec.Steady):
        raise ValueError(
            f"the weight of {regularizer.kind} follows the schedule {regularizer.schedule.kind}: "
            "expected build(…, total_steps=…), found none"
        )
    return 1


def _found(
    regularizer: spec.LayerPenalty | spec.FeaturePenalty,
    model: nn.Module,
    final: str | Collection[str] | None,
    points: Sequence[OwnPoints],
) -> list[Layer]:
    """The model's layers and the caller's points. ValueError if the classifier matters and cannot be identified."""
    names, own = read(model), own_layers(model, points)
    for place, layer in enumerate(own):
        if layer.name in {*names, *(before.name for before in own[:place])}:
            raise ValueError(f"points: expected a name for each that no layer has, found {layer.name!r} twice")
    if own and not names:
        return own
    if final is None and any(layer.is_final for layer in own):
        final = ()
    named = None if final is None else frozenset([final] if isinstance(final, str) else final)
    if named and (unknown := sorted(named - set(names))):
        raise ValueError(f"final: {unknown[0]!r} is no layer; there are {', '.join(names)}")
    known = classifier.find(model, names) if named is None else classifier.Final(named)
    if known.doubt and _depends_on_final(regularizer):
        raise ValueError(
            f"cannot tell which layer is the classifier, as the forward could not be followed ({known.doubt}): "
            f"name it, build(…, final=…), one of {', '.join(names)}"
        )
    return [*layers(model, final=known.names), *own]


def _depends_on_final(regularizer: spec.LayerPenalty | spec.FeaturePenalty) -> bool:
    if isinstance(regularizer, spec.FeaturePenalty):
        return True
    return regularizer.is_mirrored or regularizer.hidden_weight != regularizer.final_weight


def _classifier(found: Sequence[Layer]) -> Layer:
    finals = [layer for layer in found if layer.is_final]
    if len(finals) != 1:
        names = ", ".join(layer.name for layer in finals) or "none"
        raise ValueError(
            "features are what enters the classifier: expected a model with one layer that its outputs come out of, "
            f"found {names}: name it, build(…, final=…), one of {', '.join(layer.name for layer in found)}"
        )
    if isinstance(finals[0], OwnLayer):
        raise ValueError(
            f"features are what enters the classifier, and nothing enters the points {finals[0].name}: "
            "expected a layer as the classifier"
        )
    return finals[0]


def _add_layers(penalty: Penalty, regularizer: spec.LayerRegularizer, found: list[Layer], seed: int) -> None:
    left_out = unread(penalty.model)
    _check_patterns(regularizer, found, left_out)
    wanted = [
        (layer, weight)
        for layer in chosen(found, regularizer.layers, field="regularizer.layers")
        if (weight := _weight(regularizer, layer)) > 0
    ]
    chosen(found, regularizer.layer_weights, field="regularizer.layer_weights")
    once: dict[tuple[object, ...], str] = {}
    for layer, _ in sorted(wanted, key=lambda each: not each[0].is_final):
        # If several layers share a weight, the classifier counts, else the first layer.
        once.setdefault(layer.identity, layer.name)
    for layer, weight in wanted:
        first = once[layer.identity]
        if first != layer.name:
            penalty.skipped[layer.name] = f"shares its weight with {first}, where it counts"
        elif reason := spec.too_small(regularizer, *layer.shape):
            penalty.skipped[layer.name] = reason
        else:
            penalty.add(layer_term(regularizer, layer, seed=seed, weight=weight), weight)
    if wanted and not penalty.weights:
        reasons = "; ".join(f"{name} {reason}" for name, reason in penalty.skipped.items())
        raise ValueError(f"{regularizer.kind} finds no layer that it could spread: {reasons}")
    for name, reason in left_out.items():
        if any(fnmatchcase(name, pattern) for pattern in regularizer.layers):
            penalty.skipped[name] = reason


def _check_patterns(regularizer: spec.LayerPenalty, found: Sequence[Layer], left_out: Mapping[str, str]) -> None:
    """Raise ValueError for a pattern that matches only weights that are not read."""
    for pattern in regularizer.layers:
        if any(fnmatchcase(layer.name, pattern) for layer in found):
            continue
        reasons = [f"{name} {reason}" for name, reason in left_out.items() if fnmatchcase(name, pattern)]
        if reasons:
            raise ValueError(f"regularizer.layers: {pattern!r} matches no layer that is read: {'; '.join(reasons[:5])}")


def _weight(regularizer: spec.LayerPenalty, layer: Layer) -> float:
    own = regularizer.final_weight if layer.is_final else regularizer.hidden_weight
    factors = (factor for name, factor in regularizer.layer_weights.items() if fnmatchcase(layer.name, name))
    return own * next(factors, 1.0) * layer.view.share
