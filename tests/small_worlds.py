"""Small data for each task, in the shapes of the published sets: a training on them takes milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np

from hsu_core import spec
from hsu_core.data.graphs import Graph
from hsu_core.data.images import Images
from hsu_core.data.interactions import Interactions
from hsu_core.data.texts import Texts

NODES = 40
"""Of the small graphs."""

TRAININGS: dict[str, dict[str, Any]] = {
    "mlp": {"task": "classification", "dataset": {"kind": "digits"}, "model": {"kind": "mlp", "hidden": [12, 8]}},
    "small_cnn": {"task": "classification", "dataset": {"kind": "digits"}, "model": {"kind": "small_cnn", "width": 4}},
    "gcn": {"task": "nodes", "dataset": {"kind": "cora"}, "model": {"kind": "gcn", "hidden": 8}},
    "gat": {"task": "nodes", "dataset": {"kind": "citeseer"}, "model": {"kind": "gat", "hidden": 4, "heads": 2}},
    "bag_of_ngrams": {
        "task": "texts",
        "dataset": {"kind": "banking77"},
        "model": {"kind": "bag_of_ngrams", "vocabulary": 64, "width": 8},
    },
    "text_transformer": {
        "task": "texts",
        "dataset": {"kind": "banking77"},
        "model": {"kind": "text_transformer", "vocabulary": 300, "length": 8, "width": 8, "heads": 2, "depth": 1},
    },
    "matrix_factorization": {
        "task": "recommendation",
        "dataset": {"kind": "movielens-latest-small"},
        "model": {"kind": "matrix_factorization", "width": 8},
    },
    "light_gcn": {
        "task": "recommendation",
        "dataset": {"kind": "movielens-latest-small"},
        "model": {"kind": "light_gcn", "width": 8, "depth": 2},
        "loss": {"kind": "align_uniform"},
    },
}
"""A short training of each network."""


def training(network: str, **changes: Any) -> spec.TrainingSpec:
    """A training of this network; keywords change its spec."""
    common: dict[str, Any] = {
        "regularizer": {"kind": "mhe"},
        "duration": {"steps": 6},
        "record": {"every": 2, "measures": ["mhe_s2"], "layers": ["*"]},
        "evaluate": {"every": 3},
    }
    own = TRAININGS[network]
    if own["task"] != "nodes":
        common["batch_size"] = 16
    if own["task"] == "recommendation":
        common["regularizer"] = {"kind": "mhe", "layers": ["users"]}
        common["record"]["layers"] = ["users"]
    return spec.TRAINING.validate_python(common | own | changes)


def world(dataset: spec.Dataset) -> Any:
    """What the reader of this data set would return, but small."""
    drawn = np.random.default_rng(0)
    facts: Any = dataset.facts
    match dataset.kind:
        case "digits":
            pixels = drawn.integers(0, 256, (80, *facts.shape), dtype=np.uint8)
            classes = drawn.integers(0, 10, 80)
            return Images(pixels[:60], classes[:60], pixels[60:], classes[60:])
        case "cora" | "citeseer":
            features = drawn.random((NODES, facts.features), dtype=np.float32)
            pairs = drawn.integers(0, NODES, (2, 90))
            edges = np.concatenate([pairs, pairs[::-1]], axis=1)
            nodes = np.arange(NODES)
            return Graph(features, drawn.integers(0, 6, NODES), edges, nodes[:12], nodes[12:24], nodes[24:])
        case "banking77":
            classes = np.arange(154) % 77
            texts = [f"Where is card {number}? It has gone {'abc'[number % 3]}" for number in classes]
            return Texts(texts[:120], classes[:120], texts[120:], classes[120:], [str(n) for n in range(77)])
        case "movielens-latest-small":
            users = np.repeat(np.arange(30), 6)
            items = drawn.integers(0, 50, len(users))
            pairs = np.unique(np.stack([users, items], axis=1), axis=0)
            held_out = np.arange(len(pairs)) % 5 == 4
            return Interactions(pairs[~held_out], pairs[held_out])
        case _:
            raise ValueError(dataset.kind)
