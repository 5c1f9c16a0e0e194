"""Do rotated neurons keep their energy, and is a fixed classifier a simplex? Do both train, resume and cost as told?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from short_runs import assert_resumes_bit_for_bit, recorder, training

from hsu_core import costs, energies, models, spec
from hsu_core.models.fixed_classifier import separated
from hsu_core.models.orthogonal import Rotation, cayley
from hsu_core.outcomes import Finished, Series
from hsu_core.training import checkpoint, optimizers
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

OFT = {"kind": "oft", "block": 8}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [2, 3, 8])
def test_cayleys_transform_is_orthogonal_and_at_first_the_identity(size: int) -> None:
    made = cayley(random(4, size * (size - 1) // 2), size)
    torch.testing.assert_close(made @ made.mT, torch.eye(size).double().expand(4, size, size))
    assert torch.equal(cayley(torch.zeros(1, size * (size - 1) // 2), size)[0], torch.eye(size))
    assert torch.autograd.gradcheck(lambda q: cayley(q, size), random(2, size * (size - 1) // 2).requires_grad_())


@pytest.mark.parametrize("d", [2, 8, 9, 10, 20])
def test_a_rotation_is_one_orthogonal_matrix_for_all_neurons(d: int) -> None:
    rotation = Rotation(d, spec.OFT(block=8)).double()
    for number, parameter in enumerate(rotation.parameters()):
        parameter.data = random(*parameter.shape, seed=number)
    matrix = rotation(torch.eye(d, dtype=torch.float64)).detach()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(d, dtype=torch.float64))
    w = random(5, d)
    torch.testing.assert_close(rotation(w).detach(), w @ matrix)
    torch.testing.assert_close(energies.riesz(rotation(w).detach(), 2.0), energies.riesz(w, 2.0))


@pytest.mark.parametrize(("model", "steps"), [({"kind": "mlp"}, 30), ({"kind": "small_cnn"}, 30)], ids=str)
def test_a_training_moves_the_neurons_and_not_their_energies(model: dict[str, Any], steps: int) -> None:
    curves, report = recorder()
    asked = training(
        model=model,
        parametrization=OFT,
        optimizer={"kind": "adam", "lr": 0.01},
        duration={"steps": steps},
        batch_size=256,
        record={"every": steps, "measures": ["mhe_s2", "min_angle", "effective_rank"]},
    )
    assert isinstance(train(asked, callbacks=Callbacks(report=report)), Finished)
    hidden = [layer.name for layer in asked.geometry.layers if not layer.is_final]
    for name in hidden:
        for measure in asked.record.measures:
            series = Series(name, measure)
            assert curves[steps][series] == pytest.approx(curves[0][series], rel=1e-4)
    loss = Series(None, "loss")
    assert curves[steps][loss] < 0.8 * curves[0][loss]


def test_a_simplex_has_one_cosine_for_all_pairs() -> None:
    for classes, d in ((2, 1), (3, 2), (10, 9), (10, 32)):
        vectors = separated(classes, d, seed=0)
        expected = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1)
        torch.testing.assert_close(vectors @ vectors.T, expected, atol=1e-6, rtol=0)
    assert not torch.equal(separated(10, 32, seed=0), separated(10, 32, seed=1))


def test_more_classes_than_a_simplex_has_are_spread_better_than_at_random() -> None:
    vectors = separated(24, 3, seed=0)
    nearest = (vectors @ vectors.T).fill_diagonal_(-1).amax().arccos().item()
    assert math.degrees(nearest) > 39  # the best known are 43.7° apart
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(24))


def test_a_fixed_classifier_stays_while_its_features_learn(tmp_path: Path) -> None:
    asked = training(
        model={"kind": "small_cnn"},
        classifier={"kind": "max_separation", "scale": 8.0},
        duration={"epochs": 3},
        batch_size=64,
        record={"every": 50, "measures": ["mhe_s2"]},
    )
    outcome = train(asked, callbacks=Callbacks(checkpoint_dir=tmp_path))
    assert isinstance(outcome, Finished)
    assert outcome.metrics["test_accuracy"] > 0.85
    kept = load_file(checkpoint.latest(tmp_path))["model/classifier.weight"]  # type: ignore[arg-type]
    torch.testing.assert_close(kept, 8 * separated(10, 32, seed=asked.seed))


def test_a_run_with_both_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(tmp_path: Path) -> None:
    asked = training(parametrization=OFT, classifier={"kind": "max_separation"}, duration={"steps": 8})
    assert_resumes_bit_for_bit(asked, tmp_path, stopped_at=4)


@pytest.mark.parametrize(
    "bound", [{}, {"parametrization": OFT}, {"classifier": {"kind": "max_separation"}}], ids=["free", "oft", "fixed"]
)
@pytest.mark.parametrize(
    "optimizer", [{"kind": "sgd"}, {"kind": "adamw"}, {"kind": "muon"}], ids=lambda one: one["kind"]
)
def test_parameters_gradients_and_what_the_optimizer_keeps_are_told(
    bound: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    asked = training(model={"kind": "mlp", "hidden": [20, 16]}, optimizer=optimizer, **bound)
    network = models.prepared(asked, asked.dataset.facts)
    told = costs.estimate(asked)
    every = list(network.parameters())
    assert told.parameters == sum(each.numel() for each in every)
    assert told.memory.gradients == 4 * sum(each.numel() for each in every if each.requires_grad)
    made = optimizers.build(asked.optimizer, network, final={"classifier"})
    for each in every:
        each.grad = torch.ones_like(each) if each.requires_grad else None
    made.step()
    kept = sum(value.numel() for state in made.state.values() for name, value in state.items() if name != "step")
    assert told.memory.optimizer == 4 * kept


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"parametrization": {"kind": "oft", "layers": ["classifier"]}}, "nothing_to_rotate"),
        ({"parametrization": {"kind": "oft", "block": 1}}, "greater_than_equal"),
        ({"classifier": {"kind": "max_separation", "scale": 0.0}}, "greater_than"),
    ],
)
def test_what_cannot_be_bound_is_refused(wrong: dict[str, Any], code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        training(**wrong)
    assert [error["type"] for error in caught.value.errors()] == [code]


def test_a_recommender_has_no_classifier_to_fix_and_no_layer_to_rotate() -> None:
    asked = {
        "task": "recommendation",
        "dataset": {"kind": "movielens-latest-small"},
        "model": {"kind": "matrix_factorization"},
        "regularizer": {"kind": "none"},
        "duration": {"steps": 1},
    }
    for wrong, code in (
        ({"classifier": {"kind": "max_separation"}}, "no_classifier"),
        ({"parametrization": OFT}, "nothing_to_rotate"),
    ):
        with pytest.raises(ValidationError) as caught:
            spec.TRAINING.validate_python(asked | wrong)
        assert [error["type"] for error in caught.value.errors()] == [code]
