"""What holds for every task: its network is what its spec says, regularizers act on it, it resumes bit for bit."""

from __future__ import annotations

import math
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from short_runs import assert_resumes_bit_for_bit, recorder
from small_worlds import NODES, TRAININGS, training, world
from torch.utils.flop_counter import FlopCounterMode

from hsu_core import costs, spec, tasks
from hsu_core.outcomes import Finished, Series
from hsu_core.regularizers import layers
from hsu_core.tasks import Task
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

pytestmark = pytest.mark.usefixtures("small")
every_network = pytest.mark.parametrize("network", TRAININGS)
CPU = torch.device("cpu")
ONE_OF_EACH = ("mlp", "gcn", "bag_of_ngrams", "matrix_factorization")
OF_FEATURES = spec.kinds(spec.FeatureRegularizer)
REFUSED = {("matrix_factorization", kind): "no_features" for kind in OF_FEATURES}
REFUSED["matrix_factorization", "hug"] = "no_classes"
"""What a spec may not combine, and the code of the reason."""


def prepared(network: str) -> tuple[spec.TrainingSpec, Task[Any, Any]]:
    chosen = training(network)
    return chosen, tasks.prepare(chosen, world(chosen.dataset), device=CPU)


def test_every_task_and_every_network_of_the_specs_is_here() -> None:
    assert set(tasks.TASKS) == set(spec.kinds(spec.AnyTraining, tag="task"))
    assert set(spec.kinds(spec.Model)) - set(spec.kinds(spec.ImageModel)) <= set(TRAININGS)
    assert {TRAININGS[network]["task"] for network in ONE_OF_EACH} == set(tasks.TASKS)


@every_network
def test_a_network_is_made_of_what_its_spec_says(network: str) -> None:
    chosen, task = prepared(network)
    stated = chosen.geometry
    real = layers.layers(task.model, final={layer.name for layer in stated.layers if layer.is_final})
    assert [(layer.name, layer.out, layer.dimension, layer.is_final) for layer in stated.layers] == [
        (layer.name, *layer.shape, layer.is_final) for layer in real
    ]
    assert stated.parameters == sum(parameter.numel() for parameter in task.model.parameters())
    assert costs.estimate(chosen).parameters == stated.parameters


@every_network
def test_a_task_measures_and_evaluates_what_its_spec_says(network: str) -> None:
    chosen, task = prepared(network)
    batch = next(task.batches(0))
    outputs = task.outputs(task.model, batch)
    assert set(task.measured(outputs, batch)) == set(chosen.measured)
    assert set(task.evaluated()) == set(chosen.evaluated)
    assert chosen.primary.name in chosen.evaluated
    assert task.model.training


@every_network
def test_a_task_knows_classes_if_its_spec_says_so(network: str) -> None:
    chosen, task = prepared(network)
    batch = next(task.batches(0))
    if not chosen.has_classes:
        with pytest.raises(NotImplementedError, match="has no classes"):
            task.known_classes(batch)
        return
    known = task.known_classes(batch)
    logits = task.outputs(task.model, batch)[known.rows]
    assert len(known.of) == len(logits) <= chosen.load.examples
    measured = task.measured(task.outputs(task.model, batch), batch)["accuracy"]
    hits = (task.outputs(task.model, batch)[known.rows].argmax(dim=1) == known.of).float().mean()
    torch.testing.assert_close(hits, measured)


@every_network
def test_the_penaltys_share_of_the_gradient_can_be_recorded_without_another_bit(network: str) -> None:
    record = training(network).record
    curves, plain = [recorder() for _ in range(2)]
    for (_, report), is_recorded in ((curves, True), (plain, False)):
        asked = training(network, record=record.model_dump() | {"gradient_share": is_recorded})
        train(asked, callbacks=Callbacks(report=report))
    for step, values in plain[0].items():
        more = curves[0][step]
        assert {series: more[series] for series in values} == values
        found = [value for series, value in more.items() if series.measure == "gradient_share"]
        assert len(found) == (len({series.layer for series in values} - {None}))
        assert all(0 <= share <= 1 for share in found)


@every_network
def test_a_batch_is_a_function_of_seed_and_step(network: str) -> None:
    _, one = prepared(network)
    _, other = prepared(network)
    later = other.batches(3)
    steps = one.batches(0)
    for _ in range(3):
        next(steps)
    torch.manual_seed(7)
    one_loss = one.loss(one.outputs(one.model, batch := next(steps)), batch)
    before = torch.get_rng_state()
    other_loss = other.loss(other.outputs(other.model, batch := next(later)), batch)
    assert one_loss.item() == other_loss.item()
    assert torch.equal(torch.get_rng_state(), before)


@every_network
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(network: str, tmp_path: Path) -> None:
    chosen = training(network)
    assert_resumes_bit_for_bit(chosen, tmp_path, stopped_at=4)


@pytest.mark.parametrize("kind", spec.kinds(spec.Regularizer))
@pytest.mark.parametrize("network", ONE_OF_EACH)
def test_every_regularizer_acts_on_every_task_or_is_refused_with_the_reason(network: str, kind: str) -> None:
    regularizer: dict[str, Any] = {"kind": kind}
    if network == "matrix_factorization" and kind not in ("none", *OF_FEATURES):
        regularizer["layers"] = ["users"]
    record = {"every": 2, "measures": []}
    if code := REFUSED.get((network, kind)):
        with pytest.raises(ValidationError) as caught:
            training(network, regularizer=regularizer)
        assert [error["type"] for error in caught.value.errors()] == [code]
        return
    outcome = train(training(network, regularizer=regularizer, record=record, duration={"steps": 2}))
    assert isinstance(outcome, Finished), outcome
    assert math.isfinite(outcome.metrics["penalty"])
    assert (outcome.metrics["penalty"] == 0) == (kind == "none")


def test_the_documented_matrix_is_what_the_specs_say() -> None:
    docs = Path(__file__).parents[3] / "docs"
    written = runpy.run_path(str(docs / "make_matrix.py"))["page"]()
    assert (docs / "matrix.md").read_text(encoding="utf-8") == written, "run: python docs/make_matrix.py"
    assert {code for (_, _), code in REFUSED.items()} == set(re.findall(r"refused: `(\w+)`", written))


def test_the_best_state_is_that_of_the_best_primary_metric(tmp_path: Path) -> None:
    curves, report = recorder()
    saved: list[Any] = []
    chosen = training("gcn", duration={"steps": 12}, evaluate={"every": 2}, checkpoint={"keep_best": True})
    outcome = train(chosen, callbacks=Callbacks(report=report, saved=saved.append, checkpoint_dir=tmp_path))
    assert isinstance(outcome, Finished)
    series = Series(None, "validation_accuracy")
    scores = {step: values[series] for step, values in curves.items() if series in values}
    best = max(scores, key=lambda step: (scores[step], -step))
    assert max(state.metric for state in saved if state.is_best) == scores[best]
    assert outcome.metrics["selected_test_accuracy"] == curves[best][Series(None, "test_accuracy")]


@pytest.mark.parametrize("network", [name for name in TRAININGS if TRAININGS[name]["task"] != "recommendation"])
def test_the_products_of_a_step_are_those_that_torch_counts(network: str) -> None:
    """A recommender's are dot products and sparse ones, which torch does not count, or counts as dense."""
    chosen, task = prepared(network)
    batch = next(task.batches(0))
    with FlopCounterMode(display=False) as counter:
        task.loss(task.outputs(task.model, batch), batch).backward()
    told, examples = costs.estimate(chosen).flops, chosen.load.examples
    if chosen.task == "nodes":  # means over neighbours are sparse too, and the small graph has fewer nodes
        told = (told - 3 * examples * chosen.geometry.other_flops) * NODES // examples
    assert told == counter.get_total_flops()
