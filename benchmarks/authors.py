"""What did the authors' own functions return on fixed inputs, and what does the transcription return there?

`official_loss_values.json` holds what their TensorFlow code returned. Knows nothing of pytest: the tests ask on a CPU,
`device_checks` on any device.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import transcription

_FILE = Path(__file__).resolve().parent.parent / "tests" / "hsu_core" / "official_loss_values.json"
VALUES: dict[str, Any] = json.loads(_FILE.read_text())
ENTRIES = [name for name in VALUES if not name.startswith("_")]
_SHAPES = {"A_3x3x3x8": (27, 8), "B_overcomplete_1x1x3x8": (3, 8)}
_WEIGHTS = {"mhs": (0.1, 1), "mhp": (1, 10), "r_mhp": (0.01, 0.1), "mhc": (0.01, 0.1), "mgd": (0.01, 0.1)}
_AT_POLES = {"mhp": transcription.mhp, "mhc": transcription.mhc}
_OF_WEIGHTS = {"mhs": transcription.mhs, "mgd": transcription.mgd, "r_mhp": lambda w, **_: transcription.rmhp(w)}


Numbers = tuple[float, ...]
"""A weighted loss, the norm of its gradient by the filters, and of that by a pole or a projection if there is one."""


def expected(entry: str) -> Numbers:
    """What the authors' function returned."""
    value = VALUES[entry]
    return tuple(value[name] for name in ("loss", "grad_l2", "pole_or_proj_grad_l2") if name in value)


def transcribed(entry: str, device: torch.device | str = "cpu") -> Numbers:
    """What the transcription returns, in float32 on a device."""
    d, n = _SHAPES[entry.rsplit("/", 1)[1]]
    filters = _pattern(d * n).reshape(d, n).to(device).requires_grad_()
    loss, other = _loss(entry, filters.T)
    gradients = torch.autograd.grad(loss, [filters] if other is None else [filters, other])
    return (loss.item(), *(gradient.norm().item() for gradient in gradients))


def _pattern(count: int, *, offset: int = 0) -> Tensor:
    i = torch.arange(count, dtype=torch.float64) + offset
    return torch.sin(0.7 * i + 0.013 * i.square()).float()


def _loss(entry: str, w: Tensor) -> tuple[Tensor, Tensor | None]:
    """The weighted loss of an entry, and the pole or projection that it was taken at."""
    kind, place, _ = entry.split("/")
    if kind.startswith("comhe"):
        other = _pattern(5 * w.shape[1], offset=1000).reshape(5, -1).to(w.device).requires_grad_()
        return transcription.comhe(w, other, 0.1, kind=kind.split("_")[1]), other
    if "mhe" in kind:
        power = kind.rsplit("_", 1)[1]
        hidden, final = (0.1, 1) if power in ("a1", "a2") else (1, 10)
        energy = transcription.mhe(w, power, half_space=kind.startswith("half"))
        return (final if place == "final" else hidden) * energy, None
    weight, half_space = _WEIGHTS[kind][place == "final"], place == "first"
    if kind in _AT_POLES:
        pole = _pattern(w.shape[1], offset=1000).to(w.device).requires_grad_()
        return weight * _AT_POLES[kind](w, pole, half_space=half_space), pole
    return weight * _OF_WEIGHTS[kind](w, half_space=half_space), None
