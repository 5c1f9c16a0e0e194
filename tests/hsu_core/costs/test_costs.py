"""What a training is said to cost, against what torch counts."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from hsu_core import costs, models, regularizers, spec
from hsu_core.measures import panel
from hsu_core.regularizers import layers
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

BATCH = 4
NETWORKS: list[tuple[spec.ImageModel, spec.ImageDataset]] = [
    (spec.MLP(), spec.Digits()),
    (spec.MLP(hidden=()), spec.MNIST()),
    (spec.MLP(hidden=(7, 5, 3)), spec.CIFAR100()),
    (spec.SmallCNN(), spec.Digits()),
    (spec.SmallCNN(width=5), spec.FashionMNIST()),
    (spec.CNN9(), spec.CIFAR10()),
    (spec.CNN9(), spec.CIFAR100()),
]
every_network = pytest.mark.parametrize(("model", "dataset"), NETWORKS, ids=lambda part: part.kind)


def training(model: spec.ImageModel, dataset: spec.ImageDataset, **fields: Any) -> spec.ClassificationSpec:
    chosen: dict[str, Any] = {"regularizer": spec.MHE(), "duration": spec.Duration(steps=10), "batch_size": BATCH}
    return spec.ClassificationSpec(model=model, dataset=dataset, **(chosen | fields))


def batch(dataset: spec.ImageDataset) -> tuple[Tensor, Tensor]:
    return torch.randn(BATCH, *dataset.facts.shape), torch.arange(BATCH) % dataset.facts.classes


@every_network
def test_parameters_and_operations_are_those_of_the_geometry(
    model: spec.ImageModel, dataset: spec.ImageDataset
) -> None:
    geometry, found = model.geometry(dataset.facts), costs.estimate(training(model, dataset))
    assert (found.parameters, found.flops) == (geometry.parameters, BATCH * geometry.flops)


@every_network
def test_activations_are_what_autograd_keeps(model: spec.ImageModel, dataset: spec.ImageDataset) -> None:
    network, (x, y) = models.build(model, dataset.facts, seed=0), batch(dataset)
    own = {parameter.untyped_storage().data_ptr() for parameter in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = cross_entropy(network(x), y)
    real = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)
    assert costs.estimate(training(model, dataset)).memory.activations == pytest.approx(real, rel=0.02, abs=2048)
    assert loss.requires_grad


@pytest.mark.parametrize(
    ("optimizer", "numbers"), [(spec.SGD(), 1), (spec.SGD(momentum=0), 0), (spec.AdamW(), 2)], ids=["sgd", "0", "adamw"]
)
def test_the_optimizer_keeps_so_many_numbers_a_weight(optimizer: spec.Optimizer, numbers: int) -> None:
    memory = costs.estimate(training(spec.MLP(), spec.Digits(), optimizer=optimizer)).memory
    assert (memory.gradients, memory.optimizer) == (memory.weights, numbers * memory.weights)
    assert memory.total == sum(memory)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"record": spec.Record(every=3)},
        {"record": spec.Record(every=4, layers=("hidden*",), measures=("mhe_s2", "covering"))},
        {"evaluate": spec.Evaluate(every=3), "regularizer": spec.NoRegularizer()},
        {"regularizer": spec.MHP(final_weight=0), "record": spec.Record(every=20)},
        {"record": spec.Record(every=7, layers=("hidden*",), gradient_share=True)},
        {"duration": spec.Duration(epochs=1), "batch_size": 400},
    ],
    ids=["defaults", "often", "some", "evaluated", "poles", "shares", "epochs"],
)
def test_a_run_reports_just_so_many_values(fields: dict[str, Any]) -> None:
    asked = training(spec.MLP(hidden=(8, 6)), spec.Digits(), **fields)
    reported = 0

    def report(_step: int, values: Any) -> None:
        nonlocal reported
        reported += len(values)

    train(asked, callbacks=Callbacks(report=report))
    assert costs.estimate(asked).values == reported


def test_the_penalty_is_of_those_layers_that_it_acts_on() -> None:
    def flops(**fields: Any) -> int:
        return costs.estimate(
            training(spec.MLP(hidden=(8,)), spec.Digits(), regularizer=spec.MHE(**fields))
        ).penalty_flops

    hidden, final = 4 * 8**2 * 64, 4 * 10**2 * 8
    assert flops() == hidden + final
    assert flops(every=2) == (hidden + final) // 2
    assert flops(layers=("hidden*",)) == flops(final_weight=0) == flops(layer_weights={"classifier": 0}) == hidden


@pytest.mark.parametrize("chosen", [spec.Uniformity(), spec.KoLeo()], ids=lambda chosen: chosen.kind)
def test_a_penalty_on_features_is_of_the_batch(chosen: spec.Regularizer) -> None:
    asked = training(spec.MLP(hidden=(8,)), spec.Digits(), regularizer=chosen)
    assert costs.estimate(asked).penalty_flops == 4 * BATCH**2 * 8


def test_without_a_penalty_it_has_no_share() -> None:
    assert costs.estimate(training(spec.CNN9(), spec.CIFAR100(), regularizer=spec.NoRegularizer())).penalty_share == 0
    share = costs.estimate(training(spec.CNN9(), spec.CIFAR100(), batch_size=128)).penalty_share
    assert 0.001 < share < 0.02


def peak(work: Callable[[], object]) -> int:
    """The most bytes that are allocated at once, as torch's profiler counts them on a CPU.

    Garbage of earlier tests that is freed meanwhile would count as less than nothing: it is collected first.
    """
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    changes = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        most = max(most, held)
    return most


WIDE, NARROW, DEEP = spec.MLP(hidden=(300, 500)), spec.MLP(hidden=(40, 400)), spec.SmallCNN(width=64)
FRESH = spec.FreshPoles(poles=300, steps=2)


@pytest.mark.parametrize("model", [WIDE, NARROW, DEEP], ids=["wide", "narrow", "convolutions"])
@pytest.mark.parametrize(
    "chosen",
    [
        spec.MHE(),
        spec.MHE(s=20),
        spec.MHE(low_precision=True),
        spec.MHS(),
        spec.MGD(),
        spec.MHP(inner=FRESH),
        spec.MHC(inner=FRESH),
        spec.CoMHE(),
        spec.CoMHE(dimension=50, projections=64),
        spec.CoMHE(projection="angle"),
        spec.CoMHE(projection="adversarial"),
        spec.SO(),
        spec.MutualCoherence(),
        spec.MMA(),
        spec.Lloyd(),
        spec.SlicedDispersion(),
        spec.SlicedDispersion(circles=20),
        spec.Uniformity(),
        spec.KoLeo(),
        spec.WassersteinUniformity(),
        spec.SlicedGaussian(),
        spec.HUG(),
    ],
    ids=lambda chosen: chosen.kind,
)
def test_what_the_penalty_takes_is_told_within_a_factor_of_two(
    model: spec.ImageModel, chosen: spec.Regularizer
) -> None:
    asked = training(model, spec.Digits(), regularizer=chosen, batch_size=400)
    network = models.build(model, asked.dataset.facts, seed=0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    penalty = regularizers.build(chosen, network, total_steps=10)
    features = torch.randn(asked.batch_size, network.get_submodule("classifier").weight.shape[1], requires_grad=True)
    network.get_submodule("classifier")(features)

    def act() -> None:
        value = penalty(0, lr=0.1, classes=torch.arange(asked.batch_size) % 10)
        penalty.inner_gaps(0, lr=0.1)
        value.backward()

    memory = costs.estimate(asked).memory
    gradients = 0 if isinstance(chosen, spec.FeaturePenalty) else memory.gradients
    assert 1 / 2 < (memory.penalty + gradients) / peak(act) < 2


@pytest.mark.parametrize("model", [WIDE, NARROW, DEEP], ids=["wide", "narrow", "convolutions"])
def test_what_the_measures_take_is_told_within_a_factor_of_two(model: spec.ImageModel) -> None:
    network = models.build(model, spec.Digits().facts, seed=0)
    found = peak(lambda: [panel.measure(layer.points().detach()) for layer in layers.layers(network)])
    memory = costs.estimate(training(model, spec.Digits())).memory
    assert 1 / 2 < memory.measures / found < 2
    assert costs.estimate(training(model, spec.Digits(), record=spec.Record(measures=()))).memory.measures == 0


def test_what_projections_and_poles_ask_for_is_told() -> None:
    def memory(chosen: spec.Regularizer, width: int) -> costs.Memory:
        return costs.estimate(training(spec.MLP(hidden=(width, 16)), spec.Digits(), regularizer=chosen)).memory

    projections = memory(spec.CoMHE(dimension=2900, projections=256), 3000)
    assert projections.penalty > 256 * 3000 * 2900 * 4  # 8.9 GB in one piece
    assert projections.total > projections.penalty
    poles = memory(spec.MHP(inner=spec.FreshPoles(poles=65536)), 1024)
    assert poles.penalty > 65536 * 1024 * 4
    assert memory(spec.MHP(inner=spec.AuthorsPole()), 1024).penalty < poles.penalty / 100
    assert memory(spec.NoRegularizer(), 1024).penalty == 0


@pytest.mark.parametrize(
    "chosen",
    [
        spec.MHP(inner=spec.FreshPoles(poles=300, steps=20)),
        spec.MHC(inner=spec.FreshPoles(poles=50, steps=7)),
        spec.MHP(inner=spec.AuthorsPole(steps=100)),
        spec.CoMHE(dimension=50, projections=64),
        spec.CoMHE(projection="adversarial", steps=10),
    ],
    ids=lambda chosen: chosen.kind,
)
def test_operations_of_the_penalty_are_those_that_torch_counts_within_a_factor_of_two(chosen: spec.Regularizer) -> None:
    network = models.build(WIDE, spec.Digits().facts, seed=0)
    penalty = regularizers.build(chosen, network, total_steps=10)
    with FlopCounterMode(display=False) as counter:
        penalty(0, lr=0.1).backward()  # type: ignore[no-untyped-call]
    told = costs.estimate(training(WIDE, spec.Digits(), regularizer=chosen)).penalty_flops
    assert 1 / 2 < told / counter.get_total_flops() < 2
