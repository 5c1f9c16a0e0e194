"""Are the settings of batch norms applied, and are debiased averages those of TensorFlow's formula?"""

from __future__ import annotations

import torch
from torch import nn

from hsu_core import models, spec
from hsu_core.models import batch_norm
from hsu_core.ranks import ALONE
from hsu_core.training.replica import SharedBatchNorm, _share_norms

NORMS = [f"norm{stage}_{place}" for stage in (1, 2, 3) for place in (1, 2, 3)]


def test_every_norm_gets_the_settings_and_keeps_its_own_eps() -> None:
    network = models.build(spec.CNN9(), spec.CIFAR10.facts, seed=0)
    batch_norm.configure(network, spec.BatchNorm(momentum=0.01))
    assert {network.get_submodule(name).momentum for name in NORMS} == {0.01}
    assert {network.get_submodule(name).eps for name in NORMS} == {1e-3}
    batch_norm.configure(network, spec.BatchNorm(eps=1e-4))
    assert {network.get_submodule(name).eps for name in NORMS} == {1e-4}


def test_debiased_averages_are_moving_averages_divided_by_the_weights_they_hold() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3, affine=False))
    names = set(network.state_dict())
    batch_norm.configure(network, spec.BatchNorm(momentum=0.1, eps=1e-3, debiased=True))
    assert set(network.state_dict()) == names
    batches = [torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) + seed for seed in range(3)]
    mean, variance, weight = torch.zeros(3), torch.zeros(3), 0.0
    for batch in batches:
        network(batch)
        mean = 0.9 * mean + 0.1 * batch.mean(dim=(0, 2, 3))
        variance = 0.9 * variance + 0.1 * batch.var(dim=(0, 2, 3))
        weight = 0.9 * weight + 0.1
    network.eval()
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(9))
    by_hand = (x - (mean / weight)[:, None, None]) / (variance / weight + 1e-3).sqrt()[:, None, None]
    torch.testing.assert_close(network(x), by_hand)


def test_before_the_first_batch_nothing_is_subtracted_or_divided() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3, affine=False))
    batch_norm.configure(network, spec.BatchNorm(eps=1e-9, debiased=True))
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(network.eval()(x), x)


def test_a_batch_norm_of_several_ranks_is_debiased_too() -> None:
    plain, shared = nn.Sequential(nn.BatchNorm2d(3)), nn.Sequential(nn.BatchNorm2d(3))
    for network in (plain, shared):
        batch_norm.configure(network, spec.BatchNorm(momentum=0.1, debiased=True))
    _share_norms(shared, ALONE)
    batch_norm.debias(shared[0])
    assert isinstance(shared[0], SharedBatchNorm)
    for seed in range(2):
        x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) + 2
        torch.testing.assert_close(shared(x), plain(x))
    torch.testing.assert_close(shared.eval()(x), plain.eval()(x))


def test_in_training_it_is_the_plain_norm() -> None:
    plain, debiased = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    batch_norm.configure(nn.Sequential(debiased), spec.BatchNorm(debiased=True))
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(9))
    assert torch.equal(plain(x), debiased(x))
