"""What do the regularizers cost? The speed table: fast penalties against the plain transcription, and the GEMM floor.

    python benchmarks/regularizers.py [--rounds 7] [--device cpu] [--step] [--large]

Forward and backward of the half-space penalty over all layers of a network, one thread, random weights. The forms are
run in turn, several rounds, and the median is taken: of processor time on a CPU, so that other programs count less.

- speed-up: the transcription's time over ours, in the same rounds;
- floor: the time that 4n²d FLOPs take at the rate of a 1024×1024 product, measured in the same rounds, over ours;
- error: of the gradient of all layers, relative, against the plain formula in float64;
- `--step` adds the share of a plain float32 training step of CNN-9 (batch 128);
- `--large` adds the classifier heads, each in a fresh process, with the memory that it took on top (minutes).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import transcription
from hsu_core import energies, fast, spec
from hsu_core.models.cnn9 import CNN9

Shape = tuple[int, int]
Penalty = Callable[[Tensor], Tensor]

CNN9_SHAPES: list[Shape] = [
    *[(64, 27), (64, 576), (64, 576), (128, 576), (128, 1152), (128, 1152)],
    *[(256, 1152), (256, 2304), (256, 2304), (256, 4096)],
]
RESNET18_SHAPES: list[Shape] = [
    *[(64, 147), *[(64, 576)] * 4, (128, 576), *[(128, 1152)] * 3, (128, 64), (256, 1152), *[(256, 2304)] * 3],
    *[(256, 128), (512, 2304), *[(512, 4608)] * 3, (512, 256)],
]
NETWORKS: dict[str, list[Shape]] = {
    "CNN-9": CNN9_SHAPES,
    "ResNet-18": RESNET18_SHAPES,
    "transformer block": [(2304, 768), (768, 768), (3072, 768), (768, 3072)],
}
HEADS: list[Shape] = [(10_000, 512), (100_000, 512)]


class Case:
    """One row of the table: the transcription, our form, and the readable one, of the same quantity up to a factor."""

    def __init__(self, name: str, plain: Penalty, ours: Penalty, exact: Penalty, *networks: str) -> None:
        self.name, self.plain, self.ours, self.exact = name, plain, ours, exact
        self.networks = networks or ("CNN-9",)


def cases() -> list[Case]:
    """What is measured, and where."""
    half = {"half_space": True}
    found = [
        Case(
            f"mhe s=2{note}",
            partial(transcription.mhe, power="2", **half),
            partial(fast.riesz, s=2.0, low_precision=low, **half),
            partial(energies.riesz, s=2.0, **half),
            *NETWORKS,
        )
        for note, low in (("", False), (", bf16 GEMM", True))
    ]
    for power in ("0", "1", "a0", "a1", "a2"):
        kind = {"s": float(power[-1]), "angular": power.startswith("a"), **half}
        found.append(
            Case(
                f"mhe {'angular ' if len(power) == 2 else ''}s={power[-1]}",
                partial(transcription.mhe, power=power, **half),
                partial(fast.riesz, **kind),
                partial(energies.riesz, **kind),
            )
        )
    for name in ("mhs", "mgd", "mhp", "mhc"):
        quantity = {"mhs": "separation", "mgd": "gram_determinant", "mhp": "polarization", "mhc": "covering"}[name]
        forms = [getattr(transcription, name), getattr(fast, quantity), getattr(energies, quantity)]
        forms = [partial(form, **half) for form in forms]
        if name in ("mhp", "mhc"):
            forms = [partial(_at_a_pole, form) for form in forms]
        found.append(Case(f"{name}{', one pole' * (name in ('mhp', 'mhc'))}", *forms))
    found.append(Case("rmhp", transcription.rmhp, fast.resultant, energies.resultant))
    return found


def main() -> None:
    """Print the table."""
    options = _options()
    if options.head:
        _head(*options.head, options.form)
        return
    torch.set_num_threads(1)
    print(_machine(options.device), "\n")
    print("| penalty | network | transcription ms | ours ms | speed-up | floor | error | share of a step |")
    print("|---|---|---|---|---|---|---|---|")
    step = _training_step(options.device) if options.step else None
    for case in cases():
        for network in case.networks:
            own_step = step if network == "CNN-9" else None
            print(_row(measure(case, network, rounds=options.rounds, device=options.device, step=own_step)), flush=True)
    if options.large:
        print("\n| classifier head | form | seconds | speed-up | extra GiB |\n|---|---|---|---|---|", flush=True)
        for shape in HEADS:
            _heads(shape)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--step", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--head", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--form", help=argparse.SUPPRESS)
    return parser.parse_args()


class Measured(NamedTuple):
    """A row of the table. Times in seconds."""

    case: str
    network: str
    plain: float
    ours: float
    floor: float
    """The time of the products alone, at the rate of a large one, over ours."""
    error: float
    share: float | None
    """Of a training step, where one was measured."""


def measure(case: Case, network: str, *, rounds: int, device: str, step: Callable[[], None] | None = None) -> Measured:
    """The times of one penalty over all layers of a network, and its error."""
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in NETWORKS[network]]
    square = torch.randn(1024, 1024, device=device)
    runs: dict[str, Callable[[], None]] = {
        "plain": partial(_penalize, case.plain, layers),
        "ours": partial(_penalize, case.ours, layers),
        "rate": lambda: _multiply(square),
    }
    if step:
        runs["step"] = step
    times = interleaved(runs, rounds, device)
    flops = sum(4 * n * n * d for n, d in NETWORKS[network])
    floor = flops * times["rate"] / (4 * 2 * 1024**3) / times["ours"]
    share = times["ours"] / times["step"] if step else None
    return Measured(case.name, network, times["plain"], times["ours"], floor, _error(case, layers), share)


def _row(found: Measured) -> str:
    share = "" if found.share is None else f"{100 * found.share:.2f} %"
    return (
        f"| {found.case} | {found.network} | {1e3 * found.plain:.1f} | {1e3 * found.ours:.2f} "
        f"| {found.plain / found.ours:.1f} | {found.floor:.2f} | {found.error:.0e} | {share} |"
    )


def interleaved(runs: dict[str, Callable[[], None]], rounds: int, device: str) -> dict[str, float]:
    """Median seconds of each, run in turn; a first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            times[name].append(_seconds(run, device))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def _seconds(run: Callable[[], None], device: str) -> float:
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def _penalize(penalty: Penalty, layers: list[Tensor]) -> None:
    for layer in layers:
        layer.grad = None
    torch.stack([penalty(layer) for layer in layers]).sum().backward()


def _multiply(square: Tensor) -> None:
    with torch.no_grad():
        for _ in range(4):
            square @ square


def _error(case: Case, layers: list[Tensor]) -> float:
    """‖found − exact‖/‖exact‖ of the gradients of all layers but those whose pairs take gigabytes in float64."""
    small = [layer for layer in layers if len(layer) <= 768]
    found = torch.cat([torch.autograd.grad(case.ours(layer), layer)[0].flatten() for layer in small]).double()
    doubled = [layer.detach().double().requires_grad_() for layer in small]
    exact = torch.cat([torch.autograd.grad(case.exact(layer), layer)[0].flatten() for layer in doubled])
    return ((found - exact).norm() / exact.norm()).item()


def _at_a_pole(form: Callable[[Tensor, Tensor], Tensor], w: Tensor) -> Tensor:
    """The same pole for the same width, with a gradient of its own as in training."""
    pole = torch.randn(w.shape[1], generator=torch.Generator().manual_seed(1)).to(w)
    return form(w, pole.requires_grad_())


def _training_step(device: str) -> Callable[[], None]:
    """One float32 step of CNN-9 with 100 classes on a batch of 128, without penalty."""
    model = CNN9(spec.CIFAR100.facts, spec.CNN9()).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(128, 3, 32, 32, device=device)
    labels = torch.randint(100, (128,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def _heads(shape: Shape) -> None:
    """One classifier head, full space, each form in a fresh process; the transcription only where it fits."""
    forms = ["ours", "ours, bf16 GEMM"] + ["transcription"] * (shape[0] <= 10_000)
    results = {form: _in_a_fresh_process(shape, form) for form in forms}
    for form, (seconds, extra) in results.items():
        ratio = f"{results['transcription'][0] / seconds:.1f}" if "transcription" in results else ""
        print(f"| {shape[0]} × {shape[1]} | {form} | {seconds:.1f} | {ratio} | {extra:.2f} |", flush=True)


def _in_a_fresh_process(shape: Shape, form: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--head", *map(str, shape), "--form", form]
    seconds, extra = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(extra)


def _head(n: int, d: int, form: str) -> None:
    """Print processor seconds and the peak of memory above what was there before, in GiB."""
    torch.set_num_threads(1)
    w = torch.randn(n, d).requires_grad_()
    plain = partial(transcription.mhe, power="2")
    penalty = plain if form == "transcription" else partial(fast.riesz, s=2.0, low_precision="bf16" in form)
    _penalize(penalty, [torch.randn(64, 32).requires_grad_()])
    before = _peak()
    seconds = _seconds(partial(_penalize, penalty, [w]), "cpu")
    print(seconds, (_peak() - before) / 2**20)


def _peak() -> int:
    """The most memory that this program had, in KiB. `getrusage` would begin at what its parent had before the exec."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def _machine(device: str) -> str:
    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{model} ({capability}), one thread, torch {torch.__version__}"


if __name__ == "__main__":
    main()
