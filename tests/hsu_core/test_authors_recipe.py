"""Does the authors' network, set as in their programs, have the numbers of their logs at step 0?

The logs are those of the public repositories wy1iu/MHE and rmlin/CoMHE.
"""

from __future__ import annotations

import pytest
import torch

from hsu_core import authors, models, spec
from hsu_core.spec.classification import ClassificationSpec
from hsu_core.training import optimizers

NETWORK = spec.CNN9()


def test_the_l2_term_at_step_0() -> None:
    """`reg` of the logs: 1.1871, 1.1856 and 1.1885 at step 0; E = 5e-4/2 · (2·Σ neurons + Σ scales)."""
    for seed in range(3):
        network = models.build(NETWORK, spec.CIFAR100.facts, seed=seed)
        found = optimizers.l2_term(optimizers.build(spec.SGD(weight_decay=5e-4), network)).item()
        assert found == pytest.approx(1.186, abs=0.005)


def test_the_energy_of_orthonormal_hidden_layers_in_half_space() -> None:
    hidden = [layer for layer in NETWORK.geometry(spec.CIFAR100.facts).layers if not layer.is_final]
    assert len(hidden) == 10
    total = sum(
        authors.mhe(1e4 * torch.eye(layer.out, dtype=torch.float64), 2.0, half_space=True).item() for layer in hidden
    )
    assert total == pytest.approx(4.9892, abs=1e-4)


def test_an_orthogonal_initialisation_reaches_it_where_neurons_fit() -> None:
    network = models.build(NETWORK, spec.CIFAR100.facts, seed=0, initialisation="orthogonal")
    for layer in NETWORK.geometry(spec.CIFAR100.facts).layers:
        if layer.is_final or layer.out > layer.dimension:
            continue
        weight = network.get_submodule(layer.name).weight.flatten(1).double()
        best = 0.5 - 0.25 / (2 * layer.out - 1)
        assert authors.mhe(1e4 * weight, 2.0, half_space=True).item() == pytest.approx(best, abs=1e-6)


def test_options_are_absent_from_the_canonical_spec_until_they_are_used() -> None:
    plain = {
        "dataset": {"kind": "cifar100"},
        "model": {"kind": "cnn9"},
        "regularizer": {"kind": "none"},
        "duration": {"steps": 10},
    }
    options = {
        "loss": {"kind": "cross_entropy", "label_smoothing": 0.01, "softmax_floor": 1e-4},
        "batch_norm": {"momentum": 1e-3, "eps": 1e-3, "debiased": True},
        "initialisation": "orthogonal",
        "augment": "crop_flip",
        "augment_padding": "symmetric",
        "epoch_steps": 100,
        "clip_norm": 1.0,
        "ema": 0.99,
    }
    without = ClassificationSpec.model_validate(plain).model_dump(mode="json")
    assert not (options.keys() - {"augment"}) & without.keys()
    assert not {"dampening", "norm_decay", "bias_decay"} & without["optimizer"].keys()
    assert "l2" not in without["record"]
    kept = ClassificationSpec.model_validate(plain | options).model_dump(mode="json")
    assert {name: kept[name] for name in options} == options
    zero = {"kind": "sgd", "norm_decay": 0.0}
    assert ClassificationSpec.model_validate(plain | {"optimizer": zero}).model_dump()["optimizer"]["norm_decay"] == 0


@pytest.mark.parametrize(
    ("wrong", "field", "code"),
    [
        ({"augment_padding": "symmetric"}, "augment_padding", "nothing_is_moved"),
        ({"model": {"kind": "mlp"}, "batch_norm": {}}, "batch_norm", "no_batch_norm"),
        ({"epoch_steps": 391}, "epoch_steps", "epoch_longer_than_dataset"),
        ({"optimizer": {"kind": "sgd", "nesterov": True, "dampening": 0.1}}, "dampening", "nesterov_with_dampening"),
        ({"initialisation": "lecun"}, "initialisation", "literal_error"),
        ({"loss": {"kind": "cross_entropy", "label_smoothing": 1.0}}, "label_smoothing", "less_than"),
        ({"ema": 1.0}, "ema", "less_than"),
        ({"clip_norm": 0.0}, "clip_norm", "greater_than"),
    ],
)
def test_an_option_that_cannot_act_is_refused(wrong: dict[str, object], field: str, code: str) -> None:
    plain = {
        "dataset": {"kind": "cifar100"},
        "model": {"kind": "cnn9"},
        "regularizer": {"kind": "none"},
        "duration": {"steps": 10},
    }
    with pytest.raises(ValueError, match="1 validation error") as caught:
        ClassificationSpec.model_validate(plain | wrong)
    (error,) = caught.value.errors()
    assert (error["loc"][-1], error["type"]) == (field, code)


def test_running_averages_keep_their_meaning_in_a_fork() -> None:
    plain = {
        "dataset": {"kind": "cifar100"},
        "model": {"kind": "cnn9"},
        "regularizer": {"kind": "none"},
        "duration": {"steps": 10},
    }
    before = ClassificationSpec.model_validate(plain)
    after = ClassificationSpec.model_validate(plain | {"batch_norm": {"debiased": True}})
    assert [misfit.pointer for misfit in before.misfits(after, 5)] == ["/batch_norm/debiased"]
    assert not list(before.misfits(ClassificationSpec.model_validate(plain | {"batch_norm": {}}), 5))
