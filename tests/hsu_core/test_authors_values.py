"""The authors' own functions, run on fixed inputs by TensorFlow, against ours with their quirks put back.

`official_loss_values.json` holds what they returned. The quirks live in the transcription alone, which is also the
yardstick of the benchmarks; how the clean energies relate to it is tested below.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transcription
from torch import Tensor

from hsu_core import energies

VALUES: dict[str, Any] = json.loads(Path(__file__).with_name("official_loss_values.json").read_text())
ENTRIES = [name for name in VALUES if not name.startswith("_")]
SHAPES = {"A_3x3x3x8": (27, 8), "B_overcomplete_1x1x3x8": (3, 8)}
WEIGHTS = {"mhs": (0.1, 1), "mhp": (1, 10), "r_mhp": (0.01, 0.1), "mhc": (0.01, 0.1), "mgd": (0.01, 0.1)}
AT_POLES = {"mhp": transcription.mhp, "mhc": transcription.mhc}
OF_WEIGHTS = {"mhs": transcription.mhs, "mgd": transcription.mgd, "r_mhp": lambda w, half_space: transcription.rmhp(w)}


def pattern(count: int, *, offset: int = 0) -> Tensor:
    i = torch.arange(count, dtype=torch.float64) + offset
    return torch.sin(0.7 * i + 0.013 * i.square()).float()


def loss_of(entry: str, w: Tensor) -> tuple[Tensor, Tensor | None]:
    """The weighted loss of an entry, and the pole or projection that it was taken at."""
    kind, place, _ = entry.split("/")
    if kind.startswith("comhe"):
        other = pattern(5 * w.shape[1], offset=1000).reshape(5, -1).requires_grad_()
        return transcription.comhe(w, other, 0.1, kind=kind.split("_")[1]), other
    if "mhe" in kind:
        power = kind.rsplit("_", 1)[1]
        hidden, final = (0.1, 1) if power in ("a1", "a2") else (1, 10)
        energy = transcription.mhe(w, power, half_space=kind.startswith("half"))
        return (final if place == "final" else hidden) * energy, None
    weight, half_space = WEIGHTS[kind][place == "final"], place == "first"
    if kind in AT_POLES:
        pole = pattern(w.shape[1], offset=1000).requires_grad_()
        return weight * AT_POLES[kind](w, pole, half_space=half_space), pole
    return weight * OF_WEIGHTS[kind](w, half_space=half_space), None


@pytest.mark.parametrize("entry", ENTRIES)
def test_loss_and_gradients_are_the_authors(entry: str) -> None:
    d, n = SHAPES[entry.rsplit("/", 1)[1]]
    filters = pattern(d * n).reshape(d, n).requires_grad_()
    loss, other = loss_of(entry, filters.T)
    gradients = torch.autograd.grad(loss, [filters] if other is None else [filters, other])
    expected = VALUES[entry]
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-4)
    assert gradients[0].norm().item() == pytest.approx(expected["grad_l2"], rel=1e-4)
    if other is not None:
        assert gradients[1].norm().item() == pytest.approx(expected["pole_or_proj_grad_l2"], rel=1e-4)


@pytest.mark.parametrize("half_space", [False, True])
def test_without_the_quirks_the_clean_energies_are_left(half_space: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcription, "EPSILON", 0.0)
    w = torch.randn(7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pole = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    clean = {name: partial(getattr(energies, name), half_space=half_space) for name in ("riesz", "separation")}
    for s in (0.0, 1.0, 2.0):
        twice = 2 if s == 0 else 1  # theirs takes the logarithm of the squared distance
        theirs = transcription.mhe(w, f"{s:.0f}", half_space=half_space)
        torch.testing.assert_close(theirs, twice * clean["riesz"](w, s))
        angular = transcription.mhe(w, f"a{s:.0f}", half_space=half_space)
        torch.testing.assert_close(angular, clean["riesz"](w, s, angular=True))
    times = -transcription.mhs(w, half_space=half_space) / clean["separation"](w)
    assert min(abs(times.item() - ties) for ties in (1, 2)) < 1e-9
    for theirs, ours in (
        (transcription.mhp(w, pole, half_space=half_space), energies.polarization(w, pole, half_space=half_space)),
        (transcription.mhc(w, pole, half_space=half_space), energies.covering(w, pole, half_space=half_space)),
        (-transcription.mgd(w, half_space=half_space), energies.gram_determinant(w, half_space=half_space)),
        (transcription.rmhp(w), energies.resultant(w)),
    ):
        torch.testing.assert_close(theirs, ours)
        assert math.isfinite(theirs.item())
