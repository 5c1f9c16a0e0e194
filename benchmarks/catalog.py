"""What does each regularizer cost, and the panel of measures, in units of mhe? The numbers of the catalog.

    python benchmarks/catalog.py [--rounds N]

Forward and backward of the whole penalty on the weights of cnn9 (for features: on a batch of 128), every kind with its
defaults, one thread, processor time, median of interleaved rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from hsu_core import models, regularizers, spec
from hsu_core.measures import panel
from hsu_core.regularizers.layers import layers

FACTS = spec.CIFAR100.facts


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    kinds = [kind() for kind in spec.members(spec.Regularizer) if kind is not spec.NoRegularizer]
    once = {chosen.kind: _penalty(chosen) for chosen in kinds}
    once["panel"] = _panel()
    seconds: dict[str, list[float]] = {kind: [] for kind in once}
    for _ in range(rounds + 1):
        for kind, run in once.items():
            began = time.process_time()
            run()
            seconds[kind].append(time.process_time() - began)
    median = {kind: statistics.median(taken[1:]) for kind, taken in seconds.items()}
    print("| kind | ms | of mhe | catalog |\n|---|---|---|---|")
    for chosen in kinds:
        ratio = median[chosen.kind] / median["mhe"]
        print(f"| {chosen.kind} | {1000 * median[chosen.kind]:.1f} | {ratio:.2g} | {chosen.about.relative_cost:g} |")
    print(f"| (the whole panel) | {1000 * median['panel']:.1f} | {median['panel'] / median['mhe']:.2g} | |")


def _panel() -> Callable[[], None]:
    weights = [layer.points().detach() for layer in layers(models.build(spec.CNN9(), FACTS, seed=0))]

    def run() -> None:
        for w in weights:
            panel.measure(w)

    return run


def _penalty(chosen: spec.Regularizer) -> Callable[[], None]:
    network = models.build(spec.CNN9(), FACTS, seed=0).train()
    penalty = regularizers.build(chosen, network, total_steps=100)
    features = torch.randn(128, 256, requires_grad=True)
    classes = torch.arange(128) % FACTS.classes
    for term in penalty.terms:
        if hasattr(term, "features"):
            term.features = features

    def run() -> None:
        penalty(1, lr=0.1, classes=classes).backward()
        for parameter in [*network.parameters(), features]:
            parameter.grad = None

    return run


if __name__ == "__main__":
    main()
