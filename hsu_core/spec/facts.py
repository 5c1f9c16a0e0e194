"""What is known about a data set before a file is opened? Its sizes."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["GraphFacts", "ImageFacts", "InteractionFacts", "TextFacts"]


class ImageFacts(NamedTuple):
    """What is known about a set of images before a file is opened."""

    shape: tuple[int, int, int]
    """Channels, height, width of one image."""
    classes: int
    train: int
    """Number of training images."""
    test: int


class GraphFacts(NamedTuple):
    """What is known about a graph before a file is opened."""

    nodes: int
    edges: int
    """Each edge is counted once, whatever its direction."""
    features: int
    """Numbers per node."""
    classes: int
    train: int
    validation: int
    test: int


class TextFacts(NamedTuple):
    """What is known about a set of texts before a file is opened."""

    classes: int
    train: int
    test: int


class InteractionFacts(NamedTuple):
    """What is known about a set of interactions before a file is opened."""

    users: int
    items: int
    train: int
    """Interactions to train on: the first four fifths of each user's interactions."""
    test: int
