"""What do typical answers look like? Examples for the OpenAPI document; a test checks them against its schemas."""

from __future__ import annotations

from typing import Any

_AT = "2026-11-25T09:30:00Z"

SPEC: dict[str, Any] = {
    "name": "digits with half-space MHE",
    "dataset": {"kind": "digits"},
    "model": {"kind": "small_cnn"},
    "regularizer": {"kind": "mhe", "s": 2, "half_space": True, "hidden_weight": 20},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "schedule": {"kind": "cosine"},
    "duration": {"epochs": 10},
    "batch_size": 64,
    "record": {"every": 5},
}
"""A job to submit."""

_JOB: dict[str, Any] = {
    "id": 1,
    "name": SPEC["name"],
    "tags": [],
    "owner": "ada",
    "state": "running",
    "wanted": "run",
    "spec": SPEC,
    "fingerprint": "5f2c0a1e",
    "priority": 0,
    "pool": "default",
    "gpus": 1,
    "parent": None,
    "waiting": None,
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": None,
    "deadline_at": None,
    "step": 120,
    "total_steps": 230,
    "result": None,
    "failure": None,
    "attempts": [
        {
            "number": 1,
            "worker": "gpu1",
            "device": "cuda:0",
            "gpus": 1,
            "started_at": _AT,
            "ended_at": None,
            "resumed_from": None,
            "step": 120,
            "progress_at": _AT,
            "stop": None,
            "outcome": None,
        }
    ],
}
_KEY: dict[str, Any] = {
    "id": 7,
    "prefix": "1f3a9c02",
    "name": "notebook",
    "user": "ada",
    "role": "member",
    "created_at": _AT,
    "expires_at": None,
    "last_used_at": _AT,
    "revoked_at": None,
    "made_by": 3,
    "replaces": None,
}
_WORKER: dict[str, Any] = {
    "name": "gpu1",
    "pool": "default",
    "devices": ["cuda:0", "cuda:1"],
    "slots": 2,
    "busy": 1,
    "duty": "active",
    "is_there": True,
    "faults": 0,
    "holding": None,
    "started_at": _AT,
    "seen_at": _AT,
    "datasets": ["digits", "fashion-mnist"],
    "plugins": {"lab-networks": "0.1.0"},
    "broken_plugins": [],
    "lacks": [],
}
_FILE: dict[str, Any] = {
    "name": "step-100.safetensors",
    "step": 100,
    "attempt": 1,
    "bytes": 48210,
    "sha256": "9b0e5c3d",
    "created_at": _AT,
}
_USER: dict[str, Any] = {"name": "ada", "share": 1.0, "max_gpus": 4, "max_waiting": None, "gpus": 1, "usage": 5400.0}

EXAMPLES: dict[str, dict[str, Any]] = {
    "JobView": _JOB,
    "JobPage": {"jobs": [_JOB], "next_cursor": None},
    "KeyView": _KEY,
    "NewKeyView": _KEY | {"key": "hsu_1f3a9c02_shown-once-and-never-again"},
    "KeyPage": {"keys": [_KEY], "next_cursor": None},
    "AuditPage": {
        "entries": [
            {
                "id": 12,
                "at": _AT,
                "user": "ada",
                "key_prefix": "1f3a9c02",
                "address": "192.0.2.7",
                "request_id": "9d2f6c1b7a40e853",
                "action": "POST /v1/jobs",
                "subject": {"location": "/v1/jobs/1"},
                "status": 201,
            }
        ],
        "next_cursor": None,
    },
    "WorkerView": _WORKER,
    "WorkersView": {"workers": [_WORKER]},
    "UserView": _USER,
    "UsersView": {"users": [_USER]},
    "CheckpointsView": {
        "job": 1,
        "checkpoints": [
            {
                "step": 100,
                "attempt": 1,
                "bytes": 48210,
                "sha256": "9b0e5c3d",
                "metric": 0.97,
                "is_best": True,
                "created_at": _AT,
                "removed_at": None,
                "removed_because": None,
            }
        ],
    },
    "AnswersView": {"job": 1, "count": 10, "right": 8, "bits": "/oA="},
    "FilesView": {"job": 1, "files": [_FILE]},
    "FileUploadView": _FILE
    | {"id": 5, "state": "uploading", "part_bytes": 4194304, "parts": 1, "arrived": [{"number": 1, "sha256": "9b0e"}]},
    "Problem": {
        "type": "about:blank",
        "title": "The spec is not valid",
        "status": 422,
        "code": "invalid_spec",
        "detail": "/regularizer/s: Input should be greater than or equal to 0 (found -1)",
        "errors": [
            {
                "pointer": "/regularizer/s",
                "code": "greater_than_equal",
                "detail": "Input should be greater than or equal to 0 (found -1)",
            }
        ],
        "request_id": "9d2f6c1b7a40e853",
    },
}
"""By the name of the schema."""
