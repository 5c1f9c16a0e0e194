"""A job with each regularizer, over HTTP: it ends well and its curves can be read."""

from __future__ import annotations

import math

import pytest
from samples import DIGITS

from hsu_client.client import Client
from hsu_core import spec

KINDS = spec.kinds(spec.Regularizer)
POLES = ("mhp", "mhc")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_job_with_it_ends_well_and_its_curves_are_read(service: dict[str, str], kind: str) -> None:
    with Client(service["url"], service["key"]) as client:
        submitted = client.submit(DIGITS | {"regularizer": {"kind": kind}, "record": {"every": 5}})
        *_, job = client.follow(submitted["id"], poll=0.1)
        assert job["state"] == "succeeded", job["failure"]
        curves = {(curve.layer, curve.measure): curve for curve in client.curves(job["id"])}
    penalty = curves[None, "penalty"]
    assert penalty.steps == [0, 5, 10, 11]
    assert all(map(math.isfinite, penalty.values))
    assert (max(map(abs, penalty.values)) > 0) == (kind != "none")
    assert len(curves["hidden1", "mhe_s2"].values) == 4
    assert (("hidden1", "inner_gap") in curves) == (kind in POLES)
