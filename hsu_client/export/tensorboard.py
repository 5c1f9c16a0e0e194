"""How does a job become a folder of event files for TensorBoard? Through TensorBoard's own writer.

Scalars under `layer/measure` with step and time, the spec as text and as hyperparameters. Scalars are float32, as
always in TensorBoard; NaN and infinities are kept. Needs the `tensorboard` extra, but neither TensorFlow nor torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams import plugin_data_pb2 as hparams_pb
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_RUNNING, STATUS_SUCCESS
from tensorboard.plugins.text import metadata as text
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from hsu_client.export.run import Run

_OURS = ".hsu"
_STATUS = {"succeeded": STATUS_SUCCESS, "failed": STATUS_FAILURE, "cancelled": STATUS_FAILURE}


def write(run: Run, folder: Path) -> Path:
    """Write a run into a folder of its own below this one, and replace an earlier export."""
    mine = folder / run.name
    before = list(mine.glob(f"events.out.tfevents.*{_OURS}"))
    writer = EventFileWriter(str(mine), filename_suffix=_OURS)
    for event in _events(run):
        writer.add_event(event)
    writer.close()
    for old in before:
        old.unlink()
    return mine


def _events(run: Run) -> Iterator[Event]:
    began = run.began
    yield Event(wall_time=began, step=0, summary=Summary(value=[_spec(run), *_session_start(run)]))
    for row in run.rows():
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.values.items()]
        yield Event(wall_time=row.time or began, step=row.step, summary=Summary(value=scalars))
    if run.has_ended:
        yield Event(wall_time=run.ended or began, step=run.job["step"], summary=Summary(value=[_session_end(run)]))


def _spec(run: Run) -> Summary.Value:
    """The spec as a page of text."""
    spec = json.dumps(run.job["spec"], indent=2, ensure_ascii=False)
    head = f"job {run.job['id']} of {run.job['owner']}, fingerprint {run.job['fingerprint']}"
    words = f"{head}\n\n```json\n{spec}\n```"
    return Summary.Value(
        tag="spec", metadata=text.create_summary_metadata("spec", ""), tensor=make_tensor_proto([words.encode()])
    )


def _session_start(run: Run) -> Iterator[Summary.Value]:
    start = hparams_pb.SessionStartInfo(group_name=run.name, start_time_secs=run.began)
    for name, value in run.parameters.items():
        match value:
            case bool():
                start.hparams[name].bool_value = value
            case int() | float():
                start.hparams[name].number_value = value
            case _:
                start.hparams[name].string_value = value
    yield _hparams(hparams.SESSION_START_INFO_TAG, hparams_pb.HParamsPluginData(session_start_info=start))


def _session_end(run: Run) -> Summary.Value:
    status = _STATUS.get(run.job["state"], STATUS_RUNNING)
    end = hparams_pb.SessionEndInfo(status=status, end_time_secs=run.ended or run.began)
    return _hparams(hparams.SESSION_END_INFO_TAG, hparams_pb.HParamsPluginData(session_end_info=end))


def _hparams(tag: str, told: hparams_pb.HParamsPluginData) -> Summary.Value:
    return Summary.Value(tag=tag, metadata=hparams.create_summary_metadata(told), tensor=hparams.NULL_TENSOR)
