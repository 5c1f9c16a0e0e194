"""Networks of plug-ins for graphs, texts and recommendations train as the built-in ones that they are made of."""

from __future__ import annotations

from pathlib import Path

import plugin_folder

from hsu_core.spec import plugins

SPECS = """
from hsu_core.spec.facts import GraphFacts, InteractionFacts, TextFacts
from hsu_core.spec.graph_models import GCN
from hsu_core.spec.recommenders import MatrixFactorization
from hsu_core.spec.text_models import BagOfNgrams

class LabGraphNet(PluginGraphModel):
    kind: Literal["lab_graph"] = "lab_graph"
    hidden: int = 8
    dropout: float = 0.5
    builder: ClassVar[str] = "hsu_core.models.graphs:GCN"

    def geometry(self, facts: GraphFacts) -> Geometry:
        return GCN(hidden=self.hidden).geometry(facts)

class LabTextNet(PluginTextModel):
    kind: Literal["lab_text"] = "lab_text"
    vocabulary: int = 64
    longest: int = 2
    width: int = 8
    builder: ClassVar[str] = "hsu_core.models.texts:BagOfNgrams"
    reader: ClassVar[str] = "hsu_core.tasks.reading_texts:Ngrams"

    def geometry(self, facts: TextFacts) -> Geometry:
        return BagOfNgrams(vocabulary=self.vocabulary, width=self.width).geometry(facts)

class LabRecommender(PluginRecommender):
    kind: Literal["lab_recommender"] = "lab_recommender"
    width: int = 8
    builder: ClassVar[str] = "hsu_core.models.recommenders:MatrixFactorization"

    def geometry(self, facts: InteractionFacts) -> Geometry:
        return MatrixFactorization(width=self.width).geometry(facts)
"""


def test_a_network_of_a_plug_in_gives_the_numbers_of_the_built_in_one_that_it_is(tmp_path: Path) -> None:
    kinds = {"lab_graph": "LabGraphNet", "lab_text": "LabTextNet", "lab_recommender": "LabRecommender"}
    entries = {plugins.MODELS: {kind: f"lab_specs:{name}" for kind, name in kinds.items()}}
    plugin_folder.install(tmp_path, "lab", entries, lab_specs=SPECS)
    seen = plugin_folder.asked(
        tmp_path,
        f"""
        import json, sys
        sys.path.append({str(Path(__file__).parents[2])!r})
        from hsu_core.data import reading
        from hsu_core.spec import plugins
        from hsu_core.training.loop import train
        from small_worlds import training, world
        assert plugins.broken() == [], plugins.broken()
        reading.load = lambda dataset, folder, **_: world(dataset)
        def numbers(network, **change):
            asked = training(network, **change)
            found = train(asked).metrics
            return [found["train_loss"], found["penalty"], asked.plugins]
        same = {{"gcn": "lab_graph", "bag_of_ngrams": "lab_text", "matrix_factorization": "lab_recommender"}}
        print(json.dumps([
            [numbers(network), numbers(network, model={{"kind": own}})] for network, own in same.items()]))
        """,
    )
    for built_in, own in seen:
        assert own[:2] == built_in[:2]
        assert (built_in[2], own[2]) == ({}, {"lab": "1.0"})
