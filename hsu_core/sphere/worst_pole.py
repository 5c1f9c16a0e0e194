"""Where is the worst pole? The inner problem of covering and polarization, solved for given points.

Knows fixed points. Does not move them. The largest hole is exact if the hull can be built, else a lower bound; a `Pole`
says which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.spatial import ConvexHull
from torch import Tensor

from hsu_core.sphere.descent import descend, unit
from hsu_core.sphere.interruption import breathe
from hsu_core.sphere.levels import settle

Method = Literal["hull", "nearest point", "orthogonal", "descents"]

MOST_FACETS = 50_000
"""A hull that may have more facets than this is not built: it would take more than about ten seconds."""
FACETS_A_POINT = {2: 1.0, 3: 2.0, 4: 6.8, 5: 32.0, 6: 187.0, 7: 1300.0, 8: 10_500.0}
"""Mean number of facets for each of many random points on S^(d−1), by d."""


@dataclass(frozen=True)
class Pole:
    """The worst pole found for given points, and the quantity there."""

    position: Float[Tensor, " d"]
    value: float
    """Squared distance to the nearest point (covering), or mean of ‖v − xᵢ‖⁻² (polarization)."""
    method: Method
    """`hull`: all facets were checked. `nearest point`: the points lie in a half sphere, and the pole is opposite to
    the point of their hull nearest to the origin. `orthogonal`: the points do not span the space. `descents`: the best
    of many descents, so a worse pole may exist."""

    @property
    def is_exact(self) -> bool:
        """Whether no worse pole exists."""
        return self.method != "descents"


def covering_pole(points: Float[Tensor, "n d"], *, half_space: bool = False, seed: int = 0) -> Pole:
    """The pole farthest from its nearest point: the centre of the largest hole.

    It minimises the support function h(v) = maxᵢ v·xᵢ. The minima are outer normals of the hull's facets if the origin
    is in the hull. ValueError for a matrix with a zero row or without rows.
    """
    x = checked_points(points, half_space=half_space)
    position, method = _largest_hole(x, seed)
    return Pole(position, float((position - x).square().sum(1).min()), method)


def covering_angle(points: Float[Tensor, "n d"], *, half_space: bool = False) -> float:
    """The covering radius in degrees: the angle from the worst pole to its nearest point."""
    v, x = covering_pole(points, half_space=half_space).position, checked_points(points, half_space=half_space)
    half_angles = torch.atan2(torch.linalg.vector_norm(v - x, dim=1), torch.linalg.vector_norm(v + x, dim=1))
    return math.degrees(2 * float(half_angles.min()))


def polarization_pole(points: Float[Tensor, "n d"], *, half_space: bool = False, seed: int = 0) -> Pole:
    """The pole at which the mean over i of ‖v − xᵢ‖⁻² is smallest, in half space over ±xᵢ.

    Exact in half space if the points do not span the space: ½ at every pole orthogonal to them. Otherwise the best of
    descents from the centres of all holes (in high d, of the largest ones) and from 64 random poles.
    """
    x = checked_points(points, half_space=half_space)
    if half_space and (orthogonal := _orthogonal(x)) is not None:
        return Pole(orthogonal, 0.5, "orthogonal")
    start = random_poles(64, x.shape[1], seed)
    if hull_is_feasible(*x.shape) and _orthogonal(x) is None and _nearest_to_origin(x) is None:
        start = torch.cat([start, torch.from_numpy(_hull(x.numpy()).equations[:, :-1])])
    lowest = torch.cat([_potential(v, x) for v in torch.split(start, 256)]).argsort()[:256]
    poles = _settled(start[lowest], x)
    values = torch.cat([_potential(v, x) for v in torch.split(poles, 256)])
    return Pole(poles[values.argmin()], float(values.min()), "descents")


def angle_degrees(squared_distance: float) -> float:
    """The angle, in degrees, at which two unit vectors have this squared distance."""
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(squared_distance) / 2)))


def hull_is_feasible(n: int, d: int, *, most: int = MOST_FACETS) -> bool:
    """Whether the hull of n points in general position has at most about `most` facets.

    The estimate is the smaller of McMullen's upper bound and the mean for random points.
    """
    bound = float(math.comb(n - (d + 1) // 2, n - d) + math.comb(n - (d + 2) // 2, n - d)) if n > d else 1.0
    return min(bound, FACETS_A_POINT.get(d, math.inf) * n) <= most


def facets_of(x: Float[Tensor, "b n d"], *, sampled: int = 64) -> tuple[Int[Tensor, "b K d"], Float[Tensor, "b K d"]]:
    """The corners of each hull's facets and the poles above them, in an order that depends only on the corners.

    Short lists repeat their first facet. The origin must be inside the hull of the points. If the hull is too
    large for a descent, which needs it many times, `sampled` large holes are returned instead.
    """
    if not hull_is_feasible(x.shape[1], x.shape[2], most=4000):
        return _sampled_facets(x, sampled, seed=0)
    hulls = [np.unique(np.sort(_hull(points).simplices, axis=1), axis=0) for points in x.numpy()]
    most = max(map(len, hulls))
    padded = [np.concatenate([hull, np.repeat(hull[:1], most - len(hull), axis=0)]) for hull in hulls]
    corners = torch.from_numpy(np.stack(padded).astype(np.int64))
    return corners, _poles_above(x, corners)


def in_half_sphere(x: Float[Tensor, "m d"]) -> bool:
    """Whether a closed half sphere contains all points, with some margin: the origin is outside their hull."""
    return _nearest_to_origin(x) is not None


def checked_points(points: Tensor, *, half_space: bool = False) -> Float[Tensor, "m d"]:
    """The rows on the unit sphere in float64, followed by their mirror images in half space."""
    if points.ndim != 2 or points.numel() == 0:
        raise ValueError(f"expected a non-empty (n, d) matrix of points, found shape {tuple(points.shape)}")
    x = points.detach().to("cpu", torch.float64)
    if not bool((x.abs().amax(1) > 0).all()) or not bool(x.isfinite().all()):
        raise ValueError("expected finite points away from the origin, found a row of zeros, NaN or infinities")
    x = unit(x)
    return torch.cat([x, -x]) if half_space else x


def _largest_hole(x: Float[Tensor, "m d"], seed: int) -> tuple[Float[Tensor, " d"], Method]:
    if (nearest := _nearest_to_origin(x)) is not None:
        return -unit(nearest), "nearest point"
    if (orthogonal := _orthogonal(x)) is not None:
        return orthogonal, "orthogonal"
    if hull_is_feasible(*x.shape):
        equations = torch.from_numpy(_hull(x.numpy()).equations)
        return equations[equations[:, -1].argmax(), :-1], "hull"
    poles = _sampled_facets(x[None], 256, seed)[1][0]
    return poles[(poles @ x.T).amax(1).argmin()], "descents"


def _hull(points: NDArray[np.float64]) -> ConvexHull:
    """The hull with simplices as facets. Without `Qs`, a longer search, a cross-polytope's first simplex is flat."""
    breathe()
    return ConvexHull(points, qhull_options="Qt Qs" if points.shape[1] <= 4 else "Qt Qs Qx")


def _nearest_to_origin(x: Float[Tensor, "m d"]) -> Float[Tensor, " d"] | None:
    """The point of the hull nearest to the origin, or None if the origin is in the hull.

    Minimises ‖Σ λᵢ xᵢ‖ with λ ≥ 0, Σ λ = 1, as non-negative least squares (Lawson and Hanson 1974, ch. 23).
    """
    system = np.concatenate([x.numpy().T, np.ones((1, len(x)))])
    weights, _ = nnls(system, np.append(np.zeros(x.shape[1]), 1.0))
    nearest = torch.from_numpy(weights / weights.sum()) @ x
    return nearest if float(torch.linalg.vector_norm(nearest)) > 1e-7 else None


def _orthogonal(x: Float[Tensor, "m d"]) -> Float[Tensor, " d"] | None:
    """A pole orthogonal to all points, or None if they span the space."""
    _, lengths, directions = torch.linalg.svd(x, full_matrices=True)
    spans = len(lengths) == x.shape[1] and float(lengths[-1]) > 1e-10 * float(lengths[0])
    return None if spans else directions[-1]


def _potential(v: Float[Tensor, "K d"], x: Float[Tensor, "m d"]) -> Float[Tensor, " K"]:
    """The mean of ‖v − xᵢ‖⁻² at each pole."""
    return torch.cdist(v, x, compute_mode="donot_use_mm_for_euclid_dist").square().reciprocal().mean(1)


def _settled(poles: Float[Tensor, "K d"], x: Float[Tensor, "m d"]) -> Float[Tensor, "K d"]:
    """The poles at nearby minima of the potential. Newton's matrices have K·d² numbers: not used in high d."""
    if x.shape[1] <= 32:
        return settle(poles[None], x[None], steps=100).poles[0]

    def potential(v: Tensor) -> tuple[Tensor, Tensor]:
        squares = (2 - 2 * v[:, 0] @ x.T).clamp(min=1e-30)
        mean = squares.reciprocal().mean(1)
        return mean.log(), ((2 / squares.square() / mean[:, None]) @ x / len(x))[:, None]

    return descend(potential, poles[:, None], steps=300, tolerance=1e-11)[:, 0]


def _sampled_facets(
    x: Float[Tensor, "b m d"], count: int, seed: int
) -> tuple[Int[Tensor, "b count d"], Float[Tensor, "b count d"]]:
    """Facets of large holes and their poles: `count` random poles descend on a soft maximum of v·xᵢ that gets sharper.

    A pole whose d nearest points are not a facet stays where its descent ended, with the corners of another facet.
    """
    b, _, d = x.shape
    poles = random_poles(count, d, seed).repeat(b, 1)[:, None]
    for sharpness in (8.0, 64.0, 512.0, 4096.0):

        def potential(v: Tensor, sharpness: float = sharpness) -> tuple[Tensor, Tensor]:
            tilted = sharpness * v.reshape(b, count, d) @ x.mT
            gradient = torch.softmax(tilted, 2) @ x
            return torch.logsumexp(tilted, 2).flatten() / sharpness, gradient.reshape(v.shape)

        poles = descend(potential, poles, steps=200, tolerance=1e-6)
    ends = poles.reshape(b, count, d)
    corners = (ends @ x.mT).topk(d, dim=2).indices.sort(dim=2).values
    tops = _poles_above(x, corners)
    are_facets = ((tops @ x.mT).amax(2) <= (ends @ x.mT).amax(2))[..., None]  # false for NaN, from corners in one plane
    a_facet = corners.gather(1, are_facets.long().argmax(1, keepdim=True).expand(-1, -1, d))
    return torch.where(are_facets, corners, a_facet), torch.where(are_facets, tops, ends)


def _poles_above(x: Float[Tensor, "b n d"], corners: Int[Tensor, "b K d"]) -> Float[Tensor, "b K d"]:
    """The unit normals of facets, on the side away from the origin."""
    b, count, d = corners.shape
    of_facet = x.gather(1, corners.reshape(b, -1, 1).expand(-1, -1, d)).reshape(b, count, d, d)
    normal, _ = torch.linalg.solve_ex(of_facet, x.new_ones(b, count, d, 1))
    return unit(normal[..., 0])


def random_poles(count: int, d: int, seed: int = 0) -> Float[Tensor, "count d"]:
    """Uniformly random unit vectors."""
    return unit(torch.randn(count, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
