"""Are a penalty and its gradient those of its formula?"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from regularizer_laws import (
    PROJECTED,
    TABLE,
    draw,
    errors,
    every_regularizer,
    few,
    held,
    points,
    seeds,
    shapes,
    value,
    where,
)

from hsu_core import spec

# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_states_the_laws_of_every_kind_of_the_spec() -> None:
    kinds = set(spec.kinds(spec.Regularizer))
    assert {laws.chosen.kind for laws in TABLE.values()} | {"none"} == kinds


def test_the_table_knows_which_have_a_half_space_to_choose() -> None:
    assert where(half_space=True) == [
        name for name, laws in TABLE.items() if isinstance(laws.chosen, spec.LayerPenalty) and laws.chosen.is_mirrored
    ]


# --- formulas and gradients -------------------------------------------------------------------------------------------


@every_regularizer
@few
@given(shape=shapes, seed=seeds)
def test_in_float64_a_penalty_and_its_gradient_are_those_of_the_formula(
    name: str, shape: tuple[int, int], seed: int
) -> None:
    assert max(errors(name, points(*shape, seed))) < 1e-8


@pytest.mark.parametrize("name", [name for name in TABLE if name not in PROJECTED])
@few
@given(shape=shapes, seed=seeds)
def test_in_float32_they_are_those_of_the_formula_in_float64(name: str, shape: tuple[int, int], seed: int) -> None:
    assert max(errors(name, points(*shape, seed).float())) < 1e-5


@every_regularizer
@settings(max_examples=2)
@given(shape=st.sampled_from([(4, 7), (6, 3), (2, 5)]), seed=seeds)
def test_the_gradient_is_the_derivative(name: str, shape: tuple[int, int], seed: int) -> None:
    compute = partial(value, name, drawn=draw(name, *shape), **held(name))
    assert torch.autograd.gradcheck(compute, points(*shape, seed).requires_grad_())
