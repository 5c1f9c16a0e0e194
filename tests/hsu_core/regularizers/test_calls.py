"""At which calls does a penalty act, and when does what it keeps move?"""

from __future__ import annotations

import pytest
import torch
from own_models import MOVING, HeadFirst, batch, of_head_first
from torch import Tensor

from hsu_core import regularizers, spec


def kept(penalty: regularizers.Penalty) -> list[Tensor]:
    return [buffer.clone() for buffer in penalty.buffers()]


@pytest.mark.parametrize("chosen", MOVING, ids=lambda chosen: chosen.kind)
@pytest.mark.parametrize("step", [None, 4])
def test_what_is_kept_moves_once_a_step_however_often_it_is_asked(chosen: spec.Regularizer, step: int | None) -> None:
    penalty = regularizers.build(chosen, HeadFirst())
    start = kept(penalty)
    values = [penalty(step, lr=0.1)]
    once = kept(penalty)
    values += [penalty(step, lr=0.1), sum(penalty.by_layer(step).values()), penalty.value(step, lr=0.1)]
    penalty.inner_gaps(step)
    assert all(map(torch.equal, kept(penalty), once))
    assert not any(map(torch.equal, once, start))
    assert all(value.item() == pytest.approx(values[0].item()) for value in values)
    penalty(5, lr=0.1)
    assert not any(map(torch.equal, kept(penalty), once))


def test_every_kth_step_is_gated_and_scaled_by_the_call_itself() -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHE(every=4), model)
    full = of_head_first(model).item()
    assert [penalty(step).item() for step in range(6)] == pytest.approx([4 * full, 0, 0, 0, 4 * full, 0])
    assert penalty.value(3).item() == pytest.approx(full)


def test_without_a_step_updates_are_counted() -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHE(every=3), model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    acted = []
    for _ in range(7):
        for _ in range(2):  # two parts of a batch
            loss = model(batch()[0]).square().mean() + penalty()
            loss.backward()
        acted.append(penalty().item() > 0)
        optimizer.step()
        optimizer.zero_grad()
    assert acted == [True, False, False, True, False, False, True]


def test_a_pole_without_a_learning_rate_is_refused() -> None:
    penalty = regularizers.build(spec.MHP(inner=spec.AuthorsPole()), HeadFirst())
    with pytest.raises(ValueError, match=r"expected penalty\(step, lr=…\) or a spec with inner\.lr"):
        penalty(0)
    assert regularizers.build(spec.MHP(inner=spec.AuthorsPole(lr=0.1)), HeadFirst())(0).isfinite()
