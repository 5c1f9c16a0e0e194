"""Does orthogonal equivalence keep the singular values of the weights, and does it train, resume and cost as told?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from short_runs import assert_resumes_bit_for_bit, training

from hsu_core import costs, models, spec
from hsu_core.models.orthogonal import Equivalence, cayley
from hsu_core.outcomes import Finished
from hsu_core.training import checkpoint
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

POET = {"kind": "poet", "block": 8}


@pytest.mark.parametrize(("out", "d"), [(5, 20), (20, 5), (16, 9), (1, 4)])
def test_it_is_an_equivalence_with_the_singular_values_of_the_weight(out: int, d: int) -> None:
    torch.manual_seed(0)
    made = Equivalence(spec.Layer("hidden", "linear", out, d), spec.POET(block=8)).double()
    w = torch.randn(out, d, dtype=torch.float64)
    torch.testing.assert_close(made(w), w)
    for parameter in made.parameters():
        parameter.data.normal_()
    right = made.right(torch.eye(d, dtype=torch.float64))
    left = made.left(torch.eye(out, dtype=torch.float64)).T if made.left else torch.eye(1).double()
    torch.testing.assert_close(made(w), left @ w @ right)
    torch.testing.assert_close(left @ left.T, torch.eye(out).double())
    torch.testing.assert_close(torch.linalg.svdvals(made(w)), torch.linalg.svdvals(w))
    assert torch.autograd.gradcheck(made, w.requires_grad_())


def test_cayleys_transform_turns_a_plane_by_twice_the_arc_tangent() -> None:
    entries = torch.tensor([[-3.0], [0.2], [5.0]], dtype=torch.float64)
    angle = 2 * entries[:, 0].atan()
    rows = [torch.stack([angle.cos(), angle.sin()], 1), torch.stack([-angle.sin(), angle.cos()], 1)]
    torch.testing.assert_close(cayley(entries, 2), torch.stack(rows, 1))


def test_in_single_precision_it_is_orthogonal_to_a_millionth() -> None:
    entries = 0.1 * torch.randn(4, 496, generator=torch.Generator().manual_seed(0))
    made = cayley(entries, 32)
    assert (made @ made.mT - torch.eye(32)).abs().max() < 1e-6


def test_a_training_learns_digits_and_keeps_the_spectrum(tmp_path: Path) -> None:
    asked = training(
        model={"kind": "small_cnn"},
        parametrization=POET,
        optimizer={"kind": "adam", "lr": 0.01},
        duration={"epochs": 3},
        batch_size=64,
        record={"every": 50, "measures": []},
    )
    outcome = train(asked, callbacks=Callbacks(checkpoint_dir=tmp_path))
    assert isinstance(outcome, Finished)
    assert outcome.metrics["test_accuracy"] > 0.85
    trained, drawn = models.prepared(asked, asked.dataset.facts), models.prepared(asked, asked.dataset.facts)
    kept = load_file(checkpoint.latest(tmp_path))  # type: ignore[arg-type]
    trained.load_state_dict({name[6:]: value for name, value in kept.items() if name.startswith("model/")})
    for layer in asked.parametrization.bound(asked.geometry):  # type: ignore[union-attr]
        now, then = (each.get_submodule(layer.name).weight.flatten(1).detach() for each in (trained, drawn))  # type: ignore[union-attr, operator]
        assert not torch.allclose(now, then, atol=1e-2)
        torch.testing.assert_close(torch.linalg.svdvals(now), torch.linalg.svdvals(then), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(then.norm(dim=1), then.norm(dim=1)[:1].expand(len(then)))


def test_its_parameters_are_told() -> None:
    asked = training(model={"kind": "mlp", "hidden": [20, 1]}, parametrization=POET)
    every = list(models.prepared(asked, asked.dataset.facts).parameters())
    told = costs.estimate(asked)
    assert told.parameters == sum(each.numel() for each in every)
    assert told.memory.gradients == 4 * sum(each.numel() for each in every if each.requires_grad)


def test_a_stopped_run_ends_bit_for_bit_as_one_that_was_not(tmp_path: Path) -> None:
    asked = training(parametrization=POET, duration={"steps": 8})
    assert_resumes_bit_for_bit(asked, tmp_path, stopped_at=4)
    half = tmp_path / "pieces" / "step-000000004.safetensors"
    for changed in ({"parametrization": {"kind": "oft", "block": 8}}, {"classifier": {"kind": "max_separation"}}):
        after = training(**({"parametrization": POET, "duration": {"steps": 8}} | changed))
        assert [one.pointer for one in asked.misfits(after, 4)] == [f"/{next(iter(changed))}"]
        with pytest.raises(checkpoint.CheckpointMismatch, match=next(iter(changed))):
            train(after, resume_from=half)
