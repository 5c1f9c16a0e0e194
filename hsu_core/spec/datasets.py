"""Which data sets can a spec choose, and what is known about each before a file is opened?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from hsu_core.spec import plugins
from hsu_core.spec.facts import GraphFacts, ImageFacts, InteractionFacts, TextFacts
from hsu_core.spec.own_datasets import OwnImages, OwnInteractions, OwnTexts
from hsu_core.spec.plugin_bases import (
    PluginDataset,
    PluginGraphDataset,
    PluginImageDataset,
    PluginInteractionDataset,
    PluginTextDataset,
)
from hsu_core.spec.values import Spec

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "OWN_DATASET",
    "AnyOwnDataset",
    "Banking77",
    "Citeseer",
    "Cora",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "GraphDataset",
    "ImageDataset",
    "InteractionDataset",
    "MovieLensSmall",
    "PublishedDataset",
    "TextDataset",
]


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


class Banking77(Spec):
    """Questions to a bank, each with one of 77 intents (Casanueva et al. 2020, arXiv 2003.04807), in two CSV files."""

    kind: Literal["banking77"] = "banking77"
    facts: ClassVar[TextFacts] = TextFacts(classes=77, train=10_003, test=3080)


class MovieLensSmall(Spec):
    """Ratings of films (Harper and Konstan 2015): those of 4 stars or more are interactions, the rest is left out."""

    kind: Literal["movielens-latest-small"] = "movielens-latest-small"
    facts: ClassVar[InteractionFacts] = InteractionFacts(users=671, items=6170, train=41_249, test=10_319)


_Images = Digits | MNIST | FashionMNIST | CIFAR10 | CIFAR100
_Graphs = Cora | Citeseer
_BuiltIn = _Images | _Graphs | Banking77 | MovieLensSmall

plugins.load(
    plugins.DATASETS,
    (PluginImageDataset, PluginGraphDataset, PluginTextDataset, PluginInteractionDataset),
    taken=plugins.names(_BuiltIn | OwnImages | OwnTexts | OwnInteractions),
)
if TYPE_CHECKING:
    ImageDataset = Annotated[_Images | OwnImages | PluginImageDataset, Field(discriminator="kind")]
    GraphDataset = Annotated[_Graphs | PluginGraphDataset, Field(discriminator="kind")]
    TextDataset = Annotated[Banking77 | OwnTexts | PluginTextDataset, Field(discriminator="kind")]
    InteractionDataset = Annotated[
        MovieLensSmall | OwnInteractions | PluginInteractionDataset, Field(discriminator="kind")
    ]
    PublishedDataset = _BuiltIn | PluginDataset
else:
    ImageDataset = plugins.menu(_Images | OwnImages, PluginImageDataset)
    GraphDataset = plugins.menu(_Graphs, PluginGraphDataset)
    TextDataset = plugins.menu(Banking77 | OwnTexts, PluginTextDataset)
    InteractionDataset = plugins.menu(MovieLensSmall | OwnInteractions, PluginInteractionDataset)
    PublishedDataset = plugins.menu(_BuiltIn, PluginDataset)
    """Those that are read from files of their own, and not from the storage of the service."""

AnyOwnDataset = Annotated[OwnImages | OwnTexts | OwnInteractions, Field(discriminator="holds")]
OWN_DATASET: TypeAdapter[AnyOwnDataset] = TypeAdapter(AnyOwnDataset)
"""Parses a tree of plain values with all facts."""
Dataset = Annotated[PublishedDataset | AnyOwnDataset, Field(discriminator="kind")]
"""The data sets of all tasks."""
