"""How does a potential of points on a sphere decrease? By L-BFGS on a product of spheres, for all starts at once.

Knows a batch of (n, d) configurations and a function that returns values and gradients. Knows no energies.

All starts move in one (starts, n, d) tensor, because for up to some hundred points the interpreter takes more time than
the arithmetic: 32 starts of Thomson's problem with 32 points take 0.3 s; SciPy's L-BFGS-B, one start after another,
takes ten times as long. The direction comes from the compact form of Byrd, Nocedal and Schnabel 1994, eq. 3.1 (two
matrix products for the whole history). The step comes from backtracking that tolerates rounding, so the gradient can
fall to its own rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core.sphere.interruption import breathe

Potential = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From (b, n, d) points to (b,) values and the (b, n, d) gradient; its part along each point is ignored."""

MEMORY = 12
ROUNDING = 4e-15
"""A step may increase the value by this fraction of its size and still count as a decrease."""


def unit(x: Tensor) -> Tensor:
    """The rows of x, normalised to the unit sphere."""
    rows: Tensor = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return rows


def descend(
    potential: Potential, x: Float[Tensor, "b n d"], *, steps: int = 1000, tolerance: float = 1e-9
) -> Float[Tensor, "b n d"]:
    """Descend until no point's tangent gradient is longer than `tolerance`; returns the points of each start.

    A start also stops if no step decreases the value, or after `steps` steps. No step moves a point further than
    half the typical distance of neighbours.
    """
    b, n, d = x.shape
    reach = 0.5 * n ** (-1 / max(d - 1, 1))
    x = unit(x)
    value, gradient = _evaluate(potential, x)
    history = _History(x)
    steepness = _longest(gradient)
    direction = -gradient * (0.2 * reach / steepness.clamp(min=1e-300)).clamp(max=1)[:, None, None]
    resting = steepness <= tolerance
    for _ in range(steps):
        if bool(resting.all()):
            break
        direction = direction * (reach / _longest(direction).clamp(min=1e-300)).clamp(max=1)[:, None, None]
        new_x, new_value, new_gradient, moved = _line_search(potential, x, value, gradient, direction, resting)
        history.add((new_x - x).reshape(b, -1), (new_gradient - gradient).reshape(b, -1))
        x, value, gradient = new_x, new_value, new_gradient
        resting = resting | ~moved | (_longest(gradient) <= tolerance)
        direction = _tangent(x, history.direction(gradient.reshape(b, -1)).reshape(x.shape))
        uphill = (direction * gradient).sum((1, 2)) >= 0
        direction = torch.where(uphill[:, None, None], -history.scale[:, None, None] * gradient, direction)
    return x


def _line_search(
    potential: Potential, x: Tensor, value: Tensor, gradient: Tensor, direction: Tensor, resting: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first step that decreases the value enough, and which starts found one. Each try is at most half as long."""
    slope = (gradient * direction).sum((1, 2))
    step = torch.ones_like(value)
    allowance = ROUNDING * (1 + value.abs())
    for _ in range(10):
        new_x = unit(x + step[:, None, None] * direction)
        new_value, new_gradient = _evaluate(potential, new_x)
        down = new_value <= value + 1e-4 * step * slope + allowance
        if bool((down | resting).all()):
            break
        parabola = -slope * step.square() / (2 * (new_value - value - slope * step))
        shorter = parabola.nan_to_num(0, 0, 0).clamp(0.1 * step, 0.5 * step)
        step = torch.where(down, step, shorter)
    moved = down & ~resting
    keep = moved[:, None, None]
    return (
        torch.where(keep, new_x, x),
        torch.where(moved, new_value, value),
        torch.where(keep, new_gradient, gradient),
        moved,
    )


class _History:
    """The last moves and the changes of the gradient along them, a ring buffer of `MEMORY` for each start.

    A pair that cannot be used (no move, or no positive curvature) is stored as zeros and does not affect the products.
    """

    def __init__(self, x: Float[Tensor, "b n d"]) -> None:
        b = len(x)
        self.moves_and_changes = x.new_zeros(b, 2 * MEMORY, x[0].numel())
        self.move_change = x.new_zeros(b, MEMORY, MEMORY)
        self.change_change = x.new_zeros(b, MEMORY, MEMORY)
        self.scale = x.new_ones(b)
        self.count = 0

    def add(self, move: Tensor, change: Tensor) -> None:
        """Add a (b, nd) move and drop the oldest."""
        curvature, square = (move * change).sum(1), change.square().sum(1)
        useful = curvature > 1e-10 * torch.linalg.vector_norm(move, dim=1) * square.sqrt()
        move, change = torch.where(useful[:, None], move, 0), torch.where(useful[:, None], change, 0)
        self.scale = torch.where(useful, curvature / square.clamp(min=1e-300), self.scale)
        slot = self.count % MEMORY
        self.count += 1
        self.moves_and_changes[:, slot], self.moves_and_changes[:, MEMORY + slot] = move, change
        products = self.moves_and_changes @ torch.stack([move, change], dim=2)
        self.move_change[:, slot], self.move_change[:, :, slot] = products[:, MEMORY:, 0], products[:, :MEMORY, 1]
        self.change_change[:, slot] = self.change_change[:, :, slot] = products[:, MEMORY:, 1]

    def direction(self, gradient: Tensor) -> Tensor:
        """−H·gradient, both (b, nd), with the history's estimate H of the inverse Hessian."""
        order = [(self.count + i) % MEMORY for i in range(MEMORY)]
        back = [(i - self.count) % MEMORY for i in range(MEMORY)]
        products = (self.moves_and_changes @ gradient[:, :, None])[:, :, 0]
        on_moves, on_changes = products[:, :MEMORY][:, order, None], products[:, MEMORY:][:, order, None]
        upper = self.move_change[:, order][:, :, order].triu()
        curvature = upper.diagonal(dim1=1, dim2=2)
        upper = upper + torch.diag_embed((curvature == 0).to(upper.dtype))
        squares = self.change_change[:, order][:, :, order]
        scale = self.scale[:, None, None]
        u = torch.linalg.solve_triangular(upper, on_moves, upper=True)
        inner = curvature[:, :, None] * u + scale * (squares @ u - on_changes)
        v = torch.linalg.solve_triangular(upper.mT, inner, upper=False)
        coefficients = torch.cat([v[:, back], -scale * u[:, back]], dim=1)
        return -(scale[:, :, 0] * gradient + (coefficients.mT @ self.moves_and_changes)[:, 0])


def _evaluate(potential: Potential, x: Tensor) -> tuple[Tensor, Tensor]:
    breathe()
    value, gradient = potential(x)
    return value, _tangent(x, gradient)


def _tangent(x: Tensor, vector: Tensor) -> Tensor:
    return vector - x * (x * vector).sum(-1, keepdim=True)


def _longest(vector: Tensor) -> Tensor:
    longest: Tensor = torch.linalg.vector_norm(vector, dim=2).amax(dim=1)
    return longest
