"""Event files, read back as TensorBoard reads them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.util.tensor_util import make_ndarray

from hsu_client.export import tensorboard
from hsu_client.export.run import Run


def opened(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def test_scalars_come_back_with_their_steps_and_times(run: Run, tmp_path: Path) -> None:
    written = tensorboard.write(run, tmp_path)
    assert written == tmp_path / run.name
    there = opened(written)
    assert {"conv1/mhe_s2", "loss", "result/test_accuracy"} <= set(there.Tags()["scalars"])
    energies = there.Scalars("conv1/mhe_s2")
    assert [each.step for each in energies] == [1, 2, 3, 4, 5]
    assert [each.wall_time for each in energies] == [1_700_000_000.0 + step for step in range(1, 6)]
    assert energies[0].value == 1.5
    assert math.isnan(energies[1].value)
    assert [each.value for each in energies[2:4]] == [math.inf, -math.inf]
    assert energies[4].value == np.float32(0.1)
    (accuracy,) = there.Scalars("result/test_accuracy")
    assert (accuracy.step, accuracy.value) == (5, 0.5)


def test_the_spec_is_text_and_hyperparameters(run: Run, tmp_path: Path) -> None:
    there = opened(tensorboard.write(run, tmp_path))
    (text,) = there.Tensors("spec")
    words = make_ndarray(text.tensor_proto).item().decode()
    assert words.startswith(f"job {run.job['id']} of ada, fingerprint {run.job['fingerprint']}")
    assert '"kind": "mhe"' in words
    content = {tag: there.SummaryMetadata(tag).plugin_data.content for tag in there.PluginTagToContent("hparams")}
    start = hparams.parse_session_start_info_plugin_data(content[hparams.SESSION_START_INFO_TAG])
    assert start.hparams["optimizer.lr"].number_value == 0.1
    assert start.hparams["regularizer.kind"].string_value == "mhe"
    assert start.hparams["regularizer.half_space"].bool_value is True
    end = hparams.parse_session_end_info_plugin_data(content[hparams.SESSION_END_INFO_TAG])
    assert end.status == STATUS_SUCCESS
    assert end.end_time_secs == pytest.approx(run.ended)


def test_what_was_exported_before_is_replaced_and_what_is_anothers_stays(run: Run, tmp_path: Path) -> None:
    other = tmp_path / run.name / "events.out.tfevents.1.other"
    other.parent.mkdir()
    other.write_bytes(b"")
    for _ in range(3):
        written = tensorboard.write(run, tmp_path)
    assert len(opened(written).Scalars("loss")) == 5
    assert len(list(written.glob("*.hsu"))) == 1
    assert other.exists()


def test_without_times_the_steps_are_still_in_order(run: Run, tmp_path: Path) -> None:
    bare = run._replace(curves=[curve._replace(times=None) for curve in run.curves])
    losses = opened(tensorboard.write(bare, tmp_path)).Scalars("loss")
    assert [(each.step, each.value) for each in losses] == [(step, 10.0 * step) for step in range(1, 6)]
    assert {each.wall_time for each in losses} == {run.began}
