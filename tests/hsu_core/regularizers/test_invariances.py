"""Which changes of the rows leave a penalty as it is, and how do the others change it?"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from regularizer_laws import ACTS, TABLE, draw, every_regularizer, few, held, points, seeds, shapes, value, where
from torch import Tensor

# --- what changes nothing ---------------------------------------------------------------------------------------------


def rotation(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(points(d, d, seed))[0]


def turned(name: str, drawn: Tensor, turn: Tensor) -> Tensor:
    match TABLE[name].draws:
        case "poles" | "classes":
            return drawn @ turn
        case "projections" | "planes":
            return turn.T @ drawn
    return drawn


@every_regularizer
@few
@given(shape=shapes, seed=seeds)
def test_a_rotation_of_all_changes_nothing(name: str, shape: tuple[int, int], seed: int) -> None:
    w, drawn, turn = points(*shape, seed), draw(name, *shape), rotation(shape[1], seed + 1)
    torch.testing.assert_close(
        value(name, w @ turn, drawn=turned(name, drawn, turn), step=ACTS),
        value(name, w, drawn=drawn, step=ACTS),
        rtol=1e-6,
        atol=1e-8,
    )


@every_regularizer
@few
@given(shape=shapes, seed=seeds)
def test_another_order_of_the_rows_changes_nothing(name: str, shape: tuple[int, int], seed: int) -> None:
    w, drawn = points(*shape, seed), draw(name, *shape)
    order = torch.randperm(len(w), generator=torch.Generator().manual_seed(seed))
    moved = drawn[order] if TABLE[name].draws == "start" else drawn
    torch.testing.assert_close(
        value(name, w[order], drawn=moved, step=ACTS), value(name, w, drawn=drawn, step=ACTS), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("name", [name for name in TABLE if name not in where(draws="nothing")])
def test_what_is_drawn_does_not_move_by_itself(name: str) -> None:
    w, drawn, turn = points(5, 6), draw(name, 5, 6), rotation(6, 1)
    moved = w.flip(0) if TABLE[name].draws == "start" else w @ turn
    before, after = (value(name, rows, drawn=drawn).item() for rows in (w, moved))
    assert after != pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("name", where(lengths="free"))
@few
@given(shape=shapes, seed=seeds)
def test_lengths_are_free_where_only_directions_count(name: str, shape: tuple[int, int], seed: int) -> None:
    w, drawn = points(*shape, seed), draw(name, *shape)
    lengths = 10.0 ** torch.randint(-100, 100, (len(w), 1), generator=torch.Generator().manual_seed(seed)).double()
    torch.testing.assert_close(
        value(name, w * lengths, drawn=drawn, step=ACTS),
        value(name, w, drawn=drawn, step=ACTS),
        rtol=1e-6,
        atol=1e-8,
    )


@pytest.mark.parametrize("name", where(lengths="proportional"))
@few
@given(shape=shapes, seed=seeds, factor=st.floats(1e-3, 1e3))
def test_a_penalty_on_raw_weights_grows_with_them(name: str, shape: tuple[int, int], seed: int, factor: float) -> None:
    w, drawn = points(*shape, seed), draw(name, *shape)
    torch.testing.assert_close(value(name, factor * w, drawn=drawn), factor * value(name, w, drawn=drawn))


@pytest.mark.parametrize("name", where(lengths="one"))
@few
@given(n=st.integers(1, 6), seed=seeds, factor=st.floats(0.1, 10).filter(lambda factor: abs(factor - 1) > 1e-3))
def test_orthonormal_rows_of_another_length_cost(name: str, n: int, seed: int, factor: float) -> None:
    w, drawn = rotation(6, seed)[:n], draw(name, n, 6)
    assert value(name, factor * w, drawn=drawn) > value(name, w, drawn=drawn)


# --- many as one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", where(half_space=True))
@few
@given(shape=shapes.filter(lambda shape: shape[0] < 100), seed=seeds)
def test_half_space_is_full_space_on_the_doubled_set(name: str, shape: tuple[int, int], seed: int) -> None:
    w, drawn = points(*shape, seed), draw(name, *shape)
    doubled = value(name, torch.cat([w, -w]), drawn=drawn, half_space=False, **held(name))
    torch.testing.assert_close(value(name, w, drawn=drawn, **held(name)), doubled, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", where(of_features=False))
@few
@given(shape=shapes, seed=seeds)
def test_layers_of_one_shape_add_up_to_what_each_is_alone(name: str, shape: tuple[int, int], seed: int) -> None:
    a, b, drawn = points(*shape, seed), points(*shape, seed + 1), draw(name, *shape)
    together = value(name, a, b, drawn=drawn, step=ACTS)
    torch.testing.assert_close(
        together, value(name, a, drawn=drawn, step=ACTS) + value(name, b, drawn=drawn, step=ACTS)
    )
