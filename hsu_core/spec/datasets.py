"""Which data sets can a spec choose, and what is known about each before a file is opened?"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from hsu_core.spec.values import Spec

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "Banking77",
    "Citeseer",
    "Cora",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "GraphDataset",
    "GraphFacts",
    "ImageDataset",
    "ImageFacts",
    "InteractionDataset",
    "InteractionFacts",
    "MovieLensSmall",
    "TextDataset",
    "TextFacts",
]


class ImageFacts(NamedTuple):
    """What is known about a set of images before a file is opened."""

    shape: tuple[int, int, int]
    """Channels, height, width of one image."""
    classes: int
    train: int
    """Number of training images."""
    test: int


class Digits(Spec):
    """scikit-learn's 8×8 handwritten digits (UCI Optical Recognition of Handwritten Digits): always available."""

    kind: Literal["digits"] = "digits"
    facts: ClassVar[ImageFacts] = ImageFacts(shape=(1, 8, 8), classes=10, train=1437, test=360)


class MNIST(Spec):
    """LeCun, Cortes and Burges' handwritten digits, 28×28, from the idx files."""

    kind: Literal["mnist"] = "mnist"
    facts: ClassVar[ImageFacts] = ImageFacts(shape=(1, 28, 28), classes=10, train=60_000, test=10_000)


class FashionMNIST(Spec):
    """Zalando's articles of clothing, 28×28, from the idx files (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747)."""

    kind: Literal["fashion-mnist"] = "fashion-mnist"
    facts: ClassVar[ImageFacts] = ImageFacts(shape=(1, 28, 28), classes=10, train=60_000, test=10_000)


class CIFAR10(Spec):
    """Krizhevsky's colour images, 32×32, 10 classes, from the binary records."""

    kind: Literal["cifar10"] = "cifar10"
    facts: ClassVar[ImageFacts] = ImageFacts(shape=(3, 32, 32), classes=10, train=50_000, test=10_000)


class CIFAR100(Spec):
    """Krizhevsky's colour images, 32×32, 100 fine classes, from the binary records."""

    kind: Literal["cifar100"] = "cifar100"
    facts: ClassVar[ImageFacts] = ImageFacts(shape=(3, 32, 32), classes=100, train=50_000, test=10_000)


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


class Cora(Spec):
    """Papers on machine learning that cite each other, with the words in each (McCallum et al. 2000).

    The split is that of Yang, Cohen and Salakhutdinov 2016 (arXiv 1603.08861): 20 labelled papers of each class.
    """

    kind: Literal["cora"] = "cora"
    facts: ClassVar[GraphFacts] = GraphFacts(2708, 5278, 1433, classes=7, train=140, validation=500, test=1000)


class Citeseer(Spec):
    """Papers on computer science that cite each other, with the words in each (Giles et al. 1998).

    The split is that of Yang, Cohen and Salakhutdinov 2016 (arXiv 1603.08861). 48 papers do not cite and are not cited.
    """

    kind: Literal["citeseer"] = "citeseer"
    facts: ClassVar[GraphFacts] = GraphFacts(3327, 4552, 3703, classes=6, train=120, validation=500, test=1000)


class TextFacts(NamedTuple):
    """What is known about a set of texts before a file is opened."""

    classes: int
    train: int
    test: int


class Banking77(Spec):
    """Questions to a bank, each with one of 77 intents (Casanueva et al. 2020, arXiv 2003.04807), in two CSV files."""

    kind: Literal["banking77"] = "banking77"
    facts: ClassVar[TextFacts] = TextFacts(classes=77, train=10_003, test=3080)


class InteractionFacts(NamedTuple):
    """What is known about a set of interactions before a file is opened."""

    users: int
    items: int
    train: int
    """Interactions to train on: the first four fifths of each user's interactions."""
    test: int


class MovieLensSmall(Spec):
    """Ratings of films (Harper and Konstan 2015): those of 4 stars or more are interactions, the rest is left out."""

    kind: Literal["movielens-latest-small"] = "movielens-latest-small"
    facts: ClassVar[InteractionFacts] = InteractionFacts(users=671, items=6170, train=41_249, test=10_319)


ImageDataset = Annotated[Digits | MNIST | FashionMNIST | CIFAR10 | CIFAR100, Field(discriminator="kind")]
GraphDataset = Annotated[Cora | Citeseer, Field(discriminator="kind")]
TextDataset = Banking77
InteractionDataset = MovieLensSmall

Dataset = Annotated[ImageDataset | GraphDataset | TextDataset | InteractionDataset, Field(discriminator="kind")]
"""The data sets of all tasks."""
