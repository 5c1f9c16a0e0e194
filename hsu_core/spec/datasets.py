"""Which data sets may be asked for, and what is known of each before a file is opened?"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from hsu_core.spec.values import Spec

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "Dataset",
    "Digits",
    "Facts",
    "FashionMNIST",
]


class Facts(NamedTuple):
    """What is known of a data set before a file is opened."""

    shape: tuple[int, int, int]
    """Channels, height, width of one image."""
    classes: int
    train: int
    """Number of training images."""
    test: int


class Digits(Spec):
    """scikit-learn's 8×8 handwritten digits (UCI Optical Recognition of Handwritten Digits): bundled, always there."""

    kind: Literal["digits"] = "digits"
    facts: ClassVar[Facts] = Facts(shape=(1, 8, 8), classes=10, train=1437, test=360)


class MNIST(Spec):
    """LeCun, Cortes and Burges' handwritten digits, 28×28, from the idx files."""

    kind: Literal["mnist"] = "mnist"
    facts: ClassVar[Facts] = Facts(shape=(1, 28, 28), classes=10, train=60_000, test=10_000)


class FashionMNIST(Spec):
    """Zalando's articles of clothing, 28×28, from the idx files (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747)."""

    kind: Literal["fashion-mnist"] = "fashion-mnist"
    facts: ClassVar[Facts] = Facts(shape=(1, 28, 28), classes=10, train=60_000, test=10_000)


class CIFAR10(Spec):
    """Krizhevsky's colour images, 32×32, 10 classes, from the binary records."""

    kind: Literal["cifar10"] = "cifar10"
    facts: ClassVar[Facts] = Facts(shape=(3, 32, 32), classes=10, train=50_000, test=10_000)


class CIFAR100(Spec):
    """Krizhevsky's colour images, 32×32, 100 fine classes, from the binary records."""

    kind: Literal["cifar100"] = "cifar100"
    facts: ClassVar[Facts] = Facts(shape=(3, 32, 32), classes=100, train=50_000, test=10_000)


Dataset = Annotated[Digits | MNIST | FashionMNIST | CIFAR10 | CIFAR100, Field(discriminator="kind")]
