"""What does the spec of a plug-in derive from? One base for each kind of thing that a plug-in can bring.

A plug-in's module imports from here, and from the files that are named here. It cannot import `hsu_core.spec` itself,
which reads the plug-ins while it is imported; nor torch, which the web process does not have. `plugins.py` calls
`check` of a class before it is put on a menu.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import PurePosixPath
from typing import Any, ClassVar

from hsu_core.spec.facts import GraphFacts, ImageFacts, InteractionFacts, TextFacts
from hsu_core.spec.geometry import Geometry
from hsu_core.spec.penalties import About, FeaturePenalty, LayerPenalty
from hsu_core.spec.values import Spec

__all__ = [
    "PluginDataset",
    "PluginFeaturePenalty",
    "PluginGraphDataset",
    "PluginGraphModel",
    "PluginImageDataset",
    "PluginImageModel",
    "PluginInteractionDataset",
    "PluginLayerPenalty",
    "PluginMeasure",
    "PluginModel",
    "PluginRecommender",
    "PluginSpec",
    "PluginTextDataset",
    "PluginTextModel",
]


class PluginSpec(Spec):
    """What a spec asks for by a `kind` that a plug-in brings."""

    builder: ClassVar[str]
    """`package.module:name` of what makes it: imported only where torch is."""

    kind: str

    @classmethod
    def check(cls) -> None:
        """Raise ValueError with what the class lacks. Each field has a default; the class itself may raise anything."""
        cls.model_validate({})


class PluginModel(PluginSpec):
    """A network. The builder is called with the facts of the data and the spec, and returns the module.

    The module draws its own first weights from torch's global generator, which is seeded. Its layers have the names of
    the geometry's.
    """


class PluginImageModel(PluginModel):
    """A network that takes images (n, channels, height, width) from about −1 to 1, and returns logits (n, classes)."""

    def misfit(self, _shape: tuple[int, int, int]) -> str | None:
        """Why images of this shape do not fit; None if they fit."""
        return None

    @abstractmethod
    def geometry(self, facts: ImageFacts) -> Geometry:
        """The layers with neurons, in module order, and the other costs."""

    @classmethod
    def check(cls) -> None:
        """Its geometry has layers, for images of the usual sizes that fit."""
        default = cls.model_validate({})
        for shape in _SHAPES:
            if default.misfit(shape) is None:
                _check_geometry(default.geometry(ImageFacts(shape, classes=10, train=1000, test=100)))


_SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32))


class PluginGraphModel(PluginModel):
    """A network that takes the features of nodes (n, features) and edges (2, m), and returns logits (n, classes)."""

    @abstractmethod
    def geometry(self, facts: GraphFacts) -> Geometry:
        """The layers with neurons, in module order, and the other costs."""

    @classmethod
    def check(cls) -> None:
        """Its geometry has layers."""
        _check_geometry(cls.model_validate({}).geometry(_GRAPH))


_GRAPH = GraphFacts(nodes=100, edges=200, features=50, classes=7, train=20, validation=30, test=50)


class PluginTextModel(PluginModel):
    """A network that takes what its reader makes of texts, and returns logits (n, classes)."""

    reader: ClassVar[str]
    """`package.module:name` of a `hsu_core.tasks.reading_texts.Reader`: called with the spec and the training texts."""

    @abstractmethod
    def geometry(self, facts: TextFacts) -> Geometry:
        """The layers with neurons, in module order, and the other costs."""

    @classmethod
    def check(cls) -> None:
        """Its geometry has layers, and it says how texts are read."""
        if not isinstance(getattr(cls, "reader", None), str):
            raise ValueError("expected `reader: ClassVar[str]`, found none")
        _check_geometry(cls.model_validate({}).geometry(TextFacts(classes=7, train=1000, test=100)))


class PluginRecommender(PluginModel):
    """A model that recommends items. The builder returns a module as those of `hsu_core.models.recommenders`."""

    @abstractmethod
    def geometry(self, facts: InteractionFacts) -> Geometry:
        """The layers with neurons, in module order, and the other costs."""

    @classmethod
    def check(cls) -> None:
        """Its geometry has layers."""
        _check_geometry(cls.model_validate({}).geometry(InteractionFacts(users=100, items=50, train=1000, test=100)))


class PluginLayerPenalty(PluginSpec, LayerPenalty):
    """A penalty on the weights of layers. The builder is called with the spec, and returns a function.

    The function takes the neurons of a layer, the rows of a tensor (n, d), and returns a scalar; lower is better. Where
    `is_mirrored` is true, it gets those of hidden layers with their mirror images.
    """

    @classmethod
    def check(cls) -> None:
        """The catalog knows what to say of it."""
        _check_about(cls, "weights")


class PluginFeaturePenalty(PluginSpec, FeaturePenalty):
    """A penalty on a batch of features. The builder is called with the spec, and returns a function.

    The function takes the features, the rows of a tensor (n, d), and returns a scalar; lower is better.
    """

    @classmethod
    def check(cls) -> None:
        """The catalog knows what to say of it, and it needs no classes."""
        _check_about(cls, "features")
        if cls.model_validate({}).needs_classes:
            raise ValueError("a penalty of a plug-in cannot need the classes of the batch")


class PluginDataset(PluginSpec):
    """A data set. The builder is called with the paths of its files and its facts, and returns what tasks read."""

    facts: ClassVar[Any]
    files: ClassVar[tuple[str, ...]] = ()
    """Paths below the data folder (HSU_DATA_DIR); each may be a gzip with `.gz` added. Empty if it needs none."""
    of: ClassVar[type[Any]]
    """The type of its facts."""

    @classmethod
    def check(cls) -> None:
        """It has facts of this type, and its files are below the data folder."""
        cls.model_validate({})
        if not isinstance(facts := getattr(cls, "facts", None), cls.of):
            raise ValueError(f"expected `facts: ClassVar[{cls.of.__name__}]`, found {facts!r}")
        for name in cls.files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"files: expected paths below the data folder, found {name!r}")


class PluginImageDataset(PluginDataset):
    """Images and their classes: the builder returns `hsu_core.data.images.Images`."""

    facts: ClassVar[ImageFacts]
    of = ImageFacts


class PluginGraphDataset(PluginDataset):
    """A graph whose nodes have classes: the builder returns `hsu_core.data.graphs.Graph`."""

    facts: ClassVar[GraphFacts]
    of = GraphFacts


class PluginTextDataset(PluginDataset):
    """Texts and their classes: the builder returns `hsu_core.data.texts.Texts`."""

    facts: ClassVar[TextFacts]
    of = TextFacts


class PluginInteractionDataset(PluginDataset):
    """Which users came to which items: the builder returns `hsu_core.data.interactions.Interactions`."""

    facts: ClassVar[InteractionFacts]
    of = InteractionFacts


class PluginMeasure(PluginSpec):
    """A number of a layer that a job can record. It has no parameters.

    The builder is the function itself: it takes the neurons of a layer in float64, the rows of a tensor (n, d) without
    rows of zeros, and returns a scalar.
    """

    higher_is_better: ClassVar[bool]
    """Whether more uniform neurons have a higher value."""

    @classmethod
    def check(cls) -> None:
        """It says which direction is better, and has no field beside its kind."""
        cls.model_validate({})
        if not isinstance(getattr(cls, "higher_is_better", None), bool):
            raise ValueError("expected `higher_is_better: ClassVar[bool]`, found none")
        if more := sorted(set(cls.model_fields) - {"kind"}):
            raise ValueError(f"a measure has no parameters, found {', '.join(more)}")


def _check_geometry(found: object) -> None:
    if not isinstance(found, Geometry) or not found.layers:
        raise ValueError(f"geometry: expected a Geometry with layers, found {found!r}")
    names = [layer.name for layer in found.layers]
    if len(set(names)) < len(names):
        raise ValueError(f"geometry: expected a name of its own for each layer, found {', '.join(names)}")


def _check_about(penalty: type[LayerPenalty | FeaturePenalty], acts_on: str) -> None:
    penalty.model_validate({})
    about = getattr(penalty, "about", None)
    if not isinstance(about, About) or about.acts_on != acts_on:
        raise ValueError(f"expected `about: ClassVar[About]` with acts_on={acts_on!r}, found {about!r}")
