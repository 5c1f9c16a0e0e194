"""What do the tasks reach on the published data? One short training of each network, several seeds where few are noisy.

    HSU_DATA_DIR=data python benchmarks/tasks.py                     # all: an hour on two cores
    HSU_DATA_DIR=data python benchmarks/tasks.py gcn gat --seeds 3   # some

Of recommendation two more are told: the most popular items, and EASE (Steck 2019), whose optimum is a matrix inverse:
what a linear model of the items' co-occurrences can reach on the same split.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from hsu_core import spec
from hsu_core.data import reading
from hsu_core.data.interactions import Interactions
from hsu_core.outcomes import Finished
from hsu_core.tasks import recommendation
from hsu_core.training.loop import train

NO_CURVES = {"record": {"every": 10**6, "measures": []}}
CORA = {"task": "nodes", "dataset": {"kind": "cora"}}
BANKING = {"task": "texts", "dataset": {"kind": "banking77"}}
FILMS = {"task": "recommendation", "dataset": {"kind": "movielens-latest-small"}}
TRAININGS: dict[str, Mapping[str, object]] = {
    "gcn": CORA | {"model": {"kind": "gcn"}, "duration": {"epochs": 200}},
    "gat": CORA
    | {
        "model": {"kind": "gat"},
        "optimizer": {"kind": "adam", "lr": 0.005, "weight_decay": 5e-4},
        "duration": {"epochs": 200},
    },
    "bag_of_ngrams": BANKING
    | {"model": {"kind": "bag_of_ngrams"}, "optimizer": {"kind": "adamw", "lr": 0.01}, "duration": {"epochs": 12}},
    "text_transformer": BANKING
    | {
        "model": {"kind": "text_transformer", "vocabulary": 2048, "length": 48},
        "optimizer": {"kind": "adamw", "lr": 0.001, "weight_decay": 0.05},
        "duration": {"epochs": 20},
    },
    "matrix_factorization": FILMS
    | {
        "model": {"kind": "matrix_factorization"},
        "optimizer": {"kind": "adam", "lr": 0.005, "weight_decay": 1e-5},
        "duration": {"epochs": 40},
    },
    "light_gcn": FILMS
    | {
        "model": {"kind": "light_gcn"},
        "optimizer": {"kind": "adam", "lr": 0.01, "weight_decay": 1e-6},
        "batch_size": 2048,
        "duration": {"epochs": 25},
    },
    "align_uniform": FILMS
    | {
        "model": {"kind": "matrix_factorization"},
        "loss": {"kind": "align_uniform", "gamma": 0.3},
        "optimizer": {"kind": "adam", "lr": 0.005, "weight_decay": 1e-5},
        "duration": {"epochs": 25},
    },
}
SEEDS = {"gcn": 10, "gat": 10}
"""Graphs have few labels, and their results differ most between seeds."""


def main() -> None:
    """Train, and print a line for each network."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", choices=[[], *TRAININGS], metavar="NAME", help=", ".join(TRAININGS))
    options.add_argument("--seeds", type=int, help="10 of graphs, else 3")
    chosen = options.parse_args()
    folder = Path(os.environ.get("HSU_DATA_DIR", "data"))
    names = chosen.names or list(TRAININGS)
    for name in names:
        _train(name, folder, seeds=chosen.seeds or SEEDS.get(name, 3))
    if any(TRAININGS[name]["task"] == "recommendation" for name in names):
        _compare(folder)


def _train(name: str, folder: Path, *, seeds: int) -> None:
    began, found = time.monotonic(), []
    for seed in range(seeds):
        asked = TRAININGS[name] | NO_CURVES | {"regularizer": {"kind": "none"}, "seed": seed}
        outcome = train(spec.TRAINING.validate_python(asked), data_dir=folder)
        assert isinstance(outcome, Finished), outcome
        found.append(outcome.metrics)
    chosen = spec.TRAINING.validate_python(TRAININGS[name] | {"regularizer": {"kind": "none"}})
    told = [
        f"{metric} {statistics.mean(values):.4f} ± {statistics.stdev(values) if seeds > 1 else 0:.4f}"
        for metric in (*chosen.evaluated, *(f"selected_{name}" for name in chosen.selected))
        if "loss" not in metric
        for values in [[each[metric] for each in found]]
    ]
    print(f"{name:22} {', '.join(told)}; {(time.monotonic() - began) / seeds:.1f} s a seed, {seeds} seeds", flush=True)


def _compare(folder: Path) -> None:
    """The most popular items, and EASE, on the same split."""
    dataset = spec.MovieLensSmall()
    data: Interactions = reading.load(dataset, folder)
    facts = dataset.facts
    seen = torch.zeros(facts.users, facts.items, dtype=torch.float64)
    seen[data.train[:, 0], data.train[:, 1]] = 1
    together = seen.T @ seen
    inverse = torch.linalg.inv(together + 200 * torch.eye(facts.items, dtype=torch.float64))
    weights = -inverse / inverse.diagonal()
    weights.fill_diagonal_(0)
    for name, scores in {"most popular": seen.sum(dim=0).expand_as(seen), "EASE": seen @ weights}.items():
        recall, gain = _judged(scores.clone(), seen, data.test)
        print(f"{name:22} recall_at_20 {recall:.4f}, ndcg_at_20 {gain:.4f}")


def _judged(scores: torch.Tensor, seen: torch.Tensor, test: np.ndarray) -> tuple[float, float]:
    scores[seen > 0] = -torch.inf
    relevant = torch.zeros_like(seen, dtype=torch.bool)
    relevant[test[:, 0], test[:, 1]] = True
    hits = relevant.gather(1, scores.topk(recommendation.SHOWN, dim=1).indices)
    recall, gain = recommendation.judged(hits, relevant.sum(dim=1))
    return recall.mean().item(), gain.mean().item()


if __name__ == "__main__":
    main()
