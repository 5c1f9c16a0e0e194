"""What is installed is on the menus; what cannot be used is left out, with its reason, and ends nothing."""

from __future__ import annotations

from pathlib import Path

import plugin_folder
import pytest

from hsu_core import spec
from hsu_core.spec import plugins

NET = """
class {name}(PluginImageModel):
    kind: Literal["{kind}"] = "{kind}"
    builder: ClassVar[str] = "nowhere:Net"

    def geometry(self, facts: ImageFacts) -> Geometry:
        return Geometry((Layer("classifier", "linear", facts.classes, 64, is_final=True),))
"""
BROKEN: dict[str, tuple[str, str]] = {
    "raises": ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "has_torch": ("import torch" + NET.format(name="Net", kind="has_torch"), "imports torch, which the API does not"),
    "no_class": (
        "Net = 3",
        "PluginGraphModel, PluginTextModel or PluginRecommender, found 3",
    ),
    "other_base": ("Net = Geometry", "expected a class that derives from PluginImageModel, PluginGraphModel"),
    "other_kind": (NET.format(name="Net", kind="another"), 'expected the field `kind: Literal["other_kind"]'),
    "gcn": (NET.format(name="Net", kind="gcn"), "the kind gcn is taken: choose another"),
    "named_mlp": (
        NET.format(name="MLP", kind="named_mlp") + "Net = MLP",
        "the class name MLP is taken",
    ),
    "loose": (
        NET.format(name="Net", kind="loose") + "    model_config = {'extra': 'allow'}",
        "expected a frozen class that forbids unknown fields",
    ),
    "no_builder": (NET.format(name="Net", kind="no_builder").replace("nowhere:Net", "nowhere"), "expected `builder"),
    "no_geometry": (
        NET.format(name="Net", kind="no_geometry").replace("def geometry", "def layers"),
        "Can't instantiate abstract class Net",
    ),
    "one_name": (
        NET.format(name="Net", kind="one_name").replace("is_final=True),", "),").replace("((Layer", "(2 * (Layer"),
        "expected a name of its own for each layer, found classifier, classifier",
    ),
    "no_default": (NET.format(name="Net", kind="no_default") + "    width: int", "Field required"),
}


def test_a_plug_in_that_cannot_be_used_is_told_and_the_rest_is_on_the_menus(tmp_path: Path) -> None:
    for kind, (source, _) in BROKEN.items():
        plugin_folder.install(
            tmp_path, f"lab-{kind}", {plugins.MODELS: {kind: f"{kind}_specs:Net"}}, **{f"{kind}_specs": source}
        )
    entries = {plugins.MODELS: {"lab_net": "lab_specs:LabNet", "again": "lab_specs:LabNet"}}
    plugin_folder.install(
        tmp_path, "Lab_Nets", entries, version="1.2", lab_specs=NET.format(name="LabNet", kind="lab_net")
    )
    plugin_folder.install(tmp_path, "the-second", {plugins.MODELS: {"lab_net": "lab_specs:LabNet"}})
    (tmp_path / "bad-1.dist-info").mkdir()
    (tmp_path / "bad-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\n")
    (tmp_path / "bad-1.dist-info/entry_points.txt").write_text("[hsu.models]\nbad = bad:Net\n")
    seen = plugin_folder.asked(
        tmp_path,
        """
        import json
        from hsu_core import spec
        from hsu_core.spec import plugins
        assert plugins.find(plugins.MODELS, "lab_net"), plugins.broken()
        training = spec.ClassificationSpec.model_validate({
            "dataset": {"kind": "digits"}, "model": {"kind": "lab_net"}, "regularizer": {"kind": "none"},
            "duration": {"steps": 1}})
        print(json.dumps({
            "kinds": spec.kinds(spec.ImageModel), "distributions": plugins.distributions(), "used": training.plugins,
            "broken": {broken.kind + " of " + broken.distribution: broken.reason for broken in plugins.broken()}}))
        """,
    )
    built_in = [kind for kind in spec.kinds(spec.ImageModel) if plugins.find(plugins.MODELS, kind) is None]
    assert seen["kinds"] == [*built_in, "lab_net"]
    assert seen["distributions"] == seen["used"] == {"lab-nets": "1.2"}
    told = seen["broken"]
    for kind, (_, reason) in BROKEN.items():
        assert reason in told.pop(f"{kind} of lab-{kind.replace('_', '-')}")
    assert "the kind lab_net is taken" in told.pop("lab_net of the-second")
    assert 'expected the field `kind: Literal["again"]' in told.pop("again of lab-nets")
    assert "the metadata of its distribution cannot be read" in told.pop("bad of without a name")
    assert told == {}


def test_a_plug_in_that_is_imported_before_us_says_what_to_write(tmp_path: Path) -> None:
    plugin_folder.install(
        tmp_path, "early", {plugins.MODELS: {"lab_net": "early:Net"}}, early=NET.format(name="Net", kind="lab_net")
    )
    program = "import early, json; from hsu_core.spec import plugins; print(json.dumps(plugins.broken()))"
    ((*_, reason),) = plugin_folder.asked(tmp_path, program)
    assert reason == (
        "early was imported before hsu_core.spec, which reads it: write `import hsu_core.spec` into early/__init__.py"
    )


PENALTY = """
class Own(PluginLayerPenalty):
    kind: Literal["own"] = "own"
    hidden_weight: NonNegative = 1.0
    final_weight: NonNegative = 1.0
    builder: ClassVar[str] = "own_specs:penalty"
    about: ClassVar[About] = About("x", "x", "nobody", "weights", 1)

    @property
    def is_mirrored(self) -> bool:
        return True

def penalty(chosen):
    return lambda w: w.sum() + len(w)

class OfFeatures(PluginFeaturePenalty):
    kind: Literal["of_features"] = "of_features"
    weight: NonNegative = 2.0
    builder: ClassVar[str] = "own_specs:of_features"
    about: ClassVar[About] = About("x", "x", "nobody", "features", 1)

def of_features(chosen):
    return lambda features: features.square().mean()

class NoAbout(PluginLayerPenalty):
    kind: Literal["no_about"] = "no_about"
    hidden_weight: NonNegative = 1.0
    final_weight: NonNegative = 1.0
    builder: ClassVar[str] = "own_specs:penalty"

class Twisted(Own):
    kind: Literal["twisted"] = "twisted"
    builder: ClassVar[str] = "own_specs:gone"

class Count(PluginMeasure):
    kind: Literal["count"] = "count"
    builder: ClassVar[str] = "own_specs:count"
    higher_is_better: ClassVar[bool] = True

def count(w):
    return len(w)

class WithField(Count):
    kind: Literal["with_field"] = "with_field"
    power: int = 2
"""


def test_penalties_and_measures_of_plug_ins_are_computed_as_their_specs_say(tmp_path: Path) -> None:
    regularizers = {
        kind: f"own_specs:{name}"
        for kind, name in (
            ("own", "Own"),
            ("of_features", "OfFeatures"),
            ("no_about", "NoAbout"),
            ("twisted", "Twisted"),
        )
    }
    measures = {"count": "own_specs:Count", "with_field": "own_specs:WithField"}
    entries = {plugins.REGULARIZERS: regularizers, plugins.MEASURES: measures}
    plugin_folder.install(tmp_path, "own", entries, own_specs=PENALTY)
    seen = plugin_folder.asked(
        tmp_path,
        """
        import json, torch
        from hsu_core import regularizers, spec
        from hsu_core.measures import panel, references
        from hsu_core.spec import plugins
        own, of_features, twisted = (plugins.find(plugins.REGULARIZERS, kind).spec
                                     for kind in ("own", "of_features", "twisted"))
        model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
        penalty = regularizers.build(own(layer_weights={"0": 10.0}), model)
        features = regularizers.build(of_features(), model)
        model(torch.ones(5, 4))
        try:
            regularizers.build(twisted(), model)
        except plugins.BuilderFailed as error:
            failed = str(error)
        print(json.dumps({
            "terms": [round(float(each), 4) for each in penalty.by_layer(0).values()],
            "final": float(model[1].weight.sum()) + 2,
            "features": float(features(0)), "expected": 2 * float(model[0](torch.ones(5, 4)).square().mean()),
            "count": panel.measure(torch.eye(3), ["separation", "count"]),
            "random": references.of_shape(3, 4, ("count",))["count"][:3],
            "measures": spec.ALL_MEASURES[-2:], "default": "count" in spec.Record().measures,
            "failed": failed, "broken": {broken.kind: broken.reason for broken in plugins.broken()}}))
        """,
    )
    assert seen["terms"][0] == 60.0  # in half space each weight has its mirror image: only the number is left
    assert seen["terms"][1] == pytest.approx(seen["final"], abs=1e-3)
    assert seen["features"] == pytest.approx(seen["expected"])
    assert seen["count"] == {"separation": pytest.approx(2), "count": 3.0}
    assert seen["random"] == [3.0, None, None]
    assert seen["measures"] == ["wasserstein_uniformity", "count"]
    assert not seen["default"]
    assert "own_specs:gone cannot be imported: AttributeError" in seen["failed"]
    assert set(seen["broken"]) == {"no_about", "with_field"}
    assert "expected `about" in seen["broken"]["no_about"]
    assert "a measure has no parameters, found power" in seen["broken"]["with_field"]
