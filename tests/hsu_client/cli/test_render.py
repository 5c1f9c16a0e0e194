"""Jobs and curves as text."""

from __future__ import annotations

import io
import math
from typing import Any

from hsu_client import answers
from hsu_client.answers import Curve
from hsu_client.cli import render

JOB: dict[str, Any] = {
    "id": 7, "name": "digits", "state": "running", "wanted": "run", "step": 30, "total_steps": 100,
    "owner": "ada", "tags": ["a", "b"],
    "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:01Z", "finished_at": None,
    "deadline_at": None, "parent": None, "waiting": None, "result": None, "failure": None,
    "attempts": [
        {"number": 1, "worker": "box", "device": "cpu", "outcome": None, "step": 30, "resumed_from": None},
    ],
}  # fmt: skip

PLACED: dict[str, Any] = {
    "task": "points", "value": 4.000000001, "values": [4.000000001, 3.5], "gap": -1e-9, "inner": None,
    "best_known": {"value": 4.0, "source": "an antipodal pair", "is_proven": True},
    "points": [[0.0, 0.123456789], [0.0, -0.123456789]],
}  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_job_is_one_line() -> None:
    assert render.line(JOB) == "job 7 · running · step 30 of 100 ·  30 % · digits"
    assert render.line(JOB | {"wanted": "pause"}).startswith("job 7 · running, is to pause · ")
    assert render.line(JOB | {"state": "paused", "wanted": "pause"}).startswith("job 7 · paused · ")


def test_details_tell_of_tags_attempts_results_and_failures() -> None:
    ended = JOB | {
        "result": {"test_accuracy": 0.98765432, "steps": 100},
        "failure": {"code": "diverged", "message": "m"},
    }
    text = "\n".join(render.details(ended))
    for part in ("tags a, b", "test_accuracy 0.987654", "diverged: m", "attempt 1  box cpu: running at step 30"):
        assert part in text


def test_details_tell_each_row_of_a_table_and_nothing_of_what_was_not_asked_for() -> None:
    table = [{"attack": "pgd", "epsilon": 0.1, "accuracy": 0.25}, {"attack": "pgd", "epsilon": 0.2, "accuracy": 0.125}]
    told = list(render.details(JOB | {"result": {"nc1": None, "adversarial": table, "corruptions": None}}))
    assert "adversarial attack pgd, epsilon 0.1, accuracy 0.25" in told
    assert "adversarial attack pgd, epsilon 0.2, accuracy 0.125" in told
    assert not any(name in line for name in ("nc1", "corruptions") for line in told)


def test_details_tell_why_a_job_waits_and_what_it_goes_on_from() -> None:
    waiting = {"reason": "behind", "detail": "3 jobs go first; 1 of 1 slots are in use", "ahead": 3, "starts_in": 150.0}
    (attempt,) = JOB["attempts"]
    ended = attempt | {"outcome": {"kind": "preempted"}, "resumed_from": 0, "step": 40}
    forked = JOB | {"state": "queued", "waiting": waiting, "parent": {"id": 3, "step": 12}, "attempts": [ended]}
    text = "\n".join(render.details(forked))
    assert "from       job 3 at step 12" in text
    assert "waiting    3 jobs go first; 1 of 1 slots are in use; about 2.5 min to go" in text
    assert "attempt 1  box cpu: preempted at step 40, from step 0" in text
    unknown = forked | {"waiting": waiting | {"starts_in": None}}
    assert "waiting    3 jobs go first; 1 of 1 slots are in use" in list(render.details(unknown))


def test_checkpoints_tell_what_they_are_worth_and_what_became_of_them() -> None:
    row = {
        "step": 8,
        "attempt": 1,
        "bytes": 2_500_000,
        "metric": 0.5,
        "is_best": True,
        "created_at": "2026-01-01T00:00:00Z",
    }
    rows = [row | {"removed_because": None}, row | {"bytes": 1500, "metric": "NaN", "removed_because": "damaged"}]
    assert render.checkpoints(rows)[1:] == [
        ["8", "1", "2.5 MB", "0.5", "best", "2026-01-01T00:00:00Z"],
        ["8", "1", "1.5 kB", "nan", "damaged", "2026-01-01T00:00:00Z"],
    ]


def test_an_event_is_one_line() -> None:
    layers = {"hidden1": "has a single neuron: there is no pair to spread", "tied": "shares its weight with head"}
    seen = {"at": "2026-01-01T00:00:00Z", "event": {"kind": "skipped", "attempt": 1, "layers": layers}}
    assert render.event(seen) == (
        "2026-01-01T00:00:00Z  skipped     attempt 1, layers hidden1 has a single neuron: there is no pair to spread; "
        "tied shares its weight with head"
    )


def test_a_queue_shows_others_only_by_their_reason() -> None:
    place = {"job": 4, "position": 1, "pool": "default", "priority": -5, "gpus": 2, "owner": None, "reason": "quota",
             "detail": None, "starts_in": None}  # fmt: skip
    mine = place | {"position": 2, "owner": "ada", "detail": "it is next", "starts_in": 7200.0}
    assert render.places({"places": [place, mine]})[1:] == [
        ["default 1", "4", "-5", "2", "", "", "quota"],
        ["default 2", "4", "-5", "2", "ada", "2.0 h", "it is next"],
    ]


def test_a_worker_that_is_not_heard_of_is_away() -> None:
    worker = {"name": "w", "pool": "p", "devices": ["cpu:0", "cpu:1"], "slots": 2, "busy": 1, "duty": "draining"}
    shown = render.workers([worker | {"is_there": True}, worker | {"is_there": False}])
    assert shown[1:] == [["w", "p", "1 of 2", duty, "cpu:0 cpu:1"] for duty in ("draining", "draining, away")]


def test_users_show_hours_and_quotas() -> None:
    user = {"name": "ada", "share": 2.0, "max_gpus": None, "gpus": 1, "usage": 5400.0}
    assert render.users([user, user | {"max_gpus": 4}])[1:] == [
        ["ada", "2", "1 of any", "1.50"],
        ["ada", "2", "1 of 4", "1.50"],
    ]


def placed(*, half_space: bool = False, **change: Any) -> list[str]:
    """The details of a job that placed points, without those that every job has."""
    spec = {"n": 2, "d": 2, "half_space": half_space}
    others = set(render.details(JOB))
    return [line for line in render.details(JOB | {"spec": spec, "result": PLACED | change}) if line not in others]


def test_details_tell_what_points_are_worth_and_not_where_they_are() -> None:
    assert placed() == [
        "points     2 in 2 dimensions (--json prints them)",
        "value      4.000000001",
        "best known 4 (proven; an antipodal pair)",
        "gap        -1e-09",
    ]


def test_details_tell_how_sure_the_value_of_points_is() -> None:
    claimed = {"value": 4.5, "source": "a table", "is_proven": False}
    shown = placed(half_space=True, inner="descents", best_known=claimed)
    assert shown[0] == "points     2 in 2 dimensions with their mirror images (--json prints them)"
    assert shown[1] == "value      4.000000001 (worst pole: descents)"
    assert shown[2] == "best known 4.5 (not proven; a table)"
    assert placed(best_known=None, gap=None)[-1] == "best known nothing to compare with"
    assert placed(value="Infinity", gap="NaN")[1::2] == ["value      inf", "gap        nan"]


def test_hidden_layers_show_half_space_energy_and_the_classifier_the_plain_one() -> None:
    names = [(layer, measure) for layer in ("classifier", "fc") for measure in ("mhe_s2", "mhe_s2_half")]
    chosen = render.energies(Curve(layer, measure, [0], [1.0]) for layer, measure in [*names, (None, "loss")])
    assert [(curve.layer, curve.measure) for curve in chosen] == [("fc", "mhe_s2_half"), ("classifier", "mhe_s2")]


def test_layers_stand_in_the_order_of_depth() -> None:
    layers = ["hidden10", "classifier", "hidden2", "conv2_1", "conv1_3"]
    ordered = sorted((Curve(layer, "m", [], []) for layer in layers), key=answers.depth)
    assert [curve.layer for curve in ordered] == ["conv1_3", "conv2_1", "hidden2", "hidden10", "classifier"]


def test_a_summary_holds_first_and_last_values_and_references_and_leaves_out_empty_curves() -> None:
    curves = [
        Curve("conv1", "mhe_s2", [0, 9], [0.5, math.inf], random=0.6, bound=0.4, bound_source="Welch 1974"),
        Curve("conv2", "mhe_s2", [], []),
    ]
    assert render.summary(curves)[1:] == [["conv1", "mhe_s2", "2", "0.5", "inf", "0.6", "", "0.4", "Welch 1974"]]


def test_columns_are_aligned() -> None:
    rows = [["layer", "n", "why"], ["a", "100", "next"], ["b", "", "it waits"]]
    assert list(render.table(rows)) == ["layer    n  why", "a      100  next", "b           it waits"]


def test_a_log_shows_each_tenth_of_the_way_once() -> None:
    out = io.StringIO()
    views = [JOB | {"step": step} for step in range(0, 100, 2)] + [JOB | {"state": "succeeded", "step": 100}]
    assert render.progress(views, out)["state"] == "succeeded"
    assert len(out.getvalue().splitlines()) == 11


def test_a_terminal_shows_one_line_that_is_rewritten() -> None:
    out = Terminal()
    render.progress([JOB, JOB | {"step": 100}], out)
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("\r") == 2
    assert "█" * 24 in out.getvalue()
