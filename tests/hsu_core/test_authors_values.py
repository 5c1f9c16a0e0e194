"""The authors' own functions, run on fixed inputs by TensorFlow, against ours with their quirks put back.

`official_loss_values.json` holds what they returned. The quirks live in the transcription alone, which is also the
yardstick of the benchmarks; how the clean energies relate to it is tested below.
"""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import transcription

from benchmarks import authors
from hsu_core import energies


@pytest.mark.parametrize("entry", authors.ENTRIES)
def test_loss_and_gradients_are_the_authors(entry: str) -> None:
    assert authors.transcribed(entry) == pytest.approx(authors.expected(entry), rel=1e-4)


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
