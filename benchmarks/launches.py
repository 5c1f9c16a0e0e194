"""How many calls does a penalty make, layer by layer and in stacks of equal layers, and which takes less time?

    python benchmarks/launches.py [--rounds 9] [--device cpu]

Forward and backward of the whole penalty of a network's linear and convolutional layers. ATen calls that compute
(views aside) are counted on `meta`, where tensors have no numbers and every kind goes the way that it goes on a GPU: on
that, each is a launch or more. They do not depend on the machine. Times are medians of interleaved rounds, of processor
time of one thread on a CPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hsu_core import regularizers, spec
from hsu_core.regularizers import batched, inner_problem, terms

Shape = tuple[int, int]

CNN9: list[Shape] = [
    *[(64, 27), (64, 576), (64, 576), (128, 576), (128, 1152), (128, 1152)],
    *[(256, 1152), (256, 2304), (256, 2304), (256, 4096), (100, 256)],
]
RESNET18: list[Shape] = [
    *[(64, 147), *[(64, 576)] * 4, (128, 576), *[(128, 1152)] * 3, (128, 64), (256, 1152), *[(256, 2304)] * 3],
    *[(256, 128), (512, 2304), *[(512, 4608)] * 3, (512, 256), (100, 512)],
]
NETWORKS: dict[str, list[Shape]] = {
    "cnn9": CNN9,
    "ResNet-18": RESNET18,
    "12 transformer blocks": [*[(2304, 768), (768, 768), (3072, 768), (768, 3072)] * 12, (100, 768)],
}
KINDS: dict[str, spec.LayerPenalty] = {
    "mhe": spec.MHE(),
    "mhe s = 1, angular": spec.MHE(s=1.0, angular=True),
    "mhe bf16 product": spec.MHE(low_precision=True),
    "mhs": spec.MHS(),
    "mgd": spec.MGD(),
    "rmhp": spec.RMHP(),
    "mhp": spec.MHP(),
    "mhc": spec.MHC(),
    "mhc, authors' pole": spec.MHC(inner=spec.AuthorsPole()),
    "comhe": spec.CoMHE(),
    "so": spec.SO(),
    "mutual_coherence": spec.MutualCoherence(),
    "srip": spec.SRIP(),
    "mma": spec.MMA(),
}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| calls, one by one → in stacks | " + " | ".join(NETWORKS) + " |\n|---|" + "---|" * len(NETWORKS))
    for name, chosen in KINDS.items():
        counts = [(calls(chosen, shapes, stacked=False), calls(chosen, shapes)) for shapes in NETWORKS.values()]
        print(f"| {name} | " + " | ".join(f"{single} → {together}" for single, together in counts) + " |", flush=True)
    print("\n| time of a stack, of one by one | cnn9 | ResNet-18 |\n|---|---|---|")
    for name, chosen in KINDS.items():
        ratios = [_ratio(chosen, shapes, options.rounds, options.device) for shapes in (CNN9, RESNET18)]
        print(f"| {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |", flush=True)


def calls(chosen: spec.LayerPenalty, shapes: list[Shape], *, stacked: bool = True) -> int:
    """ATen calls of the whole penalty's value and gradient, views aside."""
    with on_meta(), stacking(wanted=stacked):
        penalty = regularizers.build(chosen, network(shapes, "meta"))
        with _Calls() as counted:
            penalty(1, lr=0.1).backward()
    return counted.count


class _Calls(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def network(shapes: list[Shape], device: str) -> nn.Module:
    """Layers of these shapes; the last one is the classifier."""
    return nn.Sequential(*(nn.Linear(d, n, bias=False, device=device) for n, d in shapes))


@contextmanager
def stacking(*, wanted: bool) -> Iterator[None]:
    """Equal layers together, or each alone, whatever the device."""
    with patch.object(batched, "pay", lambda _: wanted):
        yield


@contextmanager
def on_meta() -> Iterator[None]:
    """What `meta` lacks, put aside: autocast and random numbers."""
    with (
        patch.object(torch, "autocast", lambda *_, **__: nullcontext()),
        patch.object(terms.Term, "generator", lambda *_: torch.Generator()),
        patch.object(inner_problem, "drawn", lambda count, *, like, **_: like.new_empty(count, like.shape[1])),
        patch.object(terms, "gaussian", lambda *shape, count, like, **_: like.new_empty(count, *shape)),
        patch.object(torch, "randn", _not_drawn),
    ):
        yield


def _not_drawn(*shape: int, **how: Any) -> Tensor:
    del how["generator"]
    return torch.empty(*shape, **how)


def _ratio(chosen: spec.LayerPenalty, shapes: list[Shape], rounds: int, device: str) -> float:
    layers = network(shapes, device)
    penalty = regularizers.build(chosen, layers)
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds + 1):
        for stacked, taken in times.items():
            layers.zero_grad()
            with stacking(wanted=stacked):
                taken.append(_seconds(penalty, device))
    single, together = (statistics.median(taken[1:]) for taken in times.values())
    return together / single


def _seconds(penalty: regularizers.Penalty, device: str) -> float:
    clock = time.process_time if device == "cpu" else _clock_of_a_gpu
    began = clock()
    penalty(1, lr=0.1).backward()
    return clock() - began


def _clock_of_a_gpu() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
