"""How does Python submit studies, change them, and read what they show?

    with Client(url, key) as client:
        study = client.studies.submit({"base": {...}, "arms": {...}, "seeds": 10})
        for view in client.studies.follow(study["id"]):
            print(view["runs"])
        table = client.studies.table(study["id"])

Knows the HTTP interface of the service.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx2


class Studies:
    """The studies of a client."""

    def __init__(self, send: Callable[..., httpx2.Response]) -> None:
        """`send` makes a request: its method, its path, and what else httpx takes."""
        self._send = send

    def submit(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Queue the jobs of a study. With a key, a repeated request with the same spec returns the same study."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._ask("POST", "/v1/studies", json=spec, headers=headers)

    def quote(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """How many jobs a study would have, what they would cost, and when they would end; nothing is queued."""
        return self._ask("POST", "/v1/studies", params={"dry_run": True}, json=spec)

    def list(self, *, page: int = 100) -> Iterator[dict[str, Any]]:
        """Your studies, the newest first; all users' for an admin."""
        cursor = None
        while True:
            asked = {"limit": page} | ({"cursor": cursor} if cursor else {})
            answer = self._ask("GET", "/v1/studies", params=asked)
            yield from answer["studies"]
            cursor = answer["next_cursor"]
            if cursor is None:
                return

    def show(self, study_id: int) -> dict[str, Any]:
        """A study: its cells, and how far their runs are."""
        return self._ask("GET", f"/v1/studies/{study_id}")

    def follow(self, study_id: int, *, poll: float = 2.0) -> Iterator[dict[str, Any]]:
        """Yield a study whenever its runs have changed, up to and including its end; asks every `poll` seconds."""
        seen: object = None
        while True:
            view = self.show(study_id)
            now = (view["wanted"], [cell["runs"] for cell in view["cells"]])
            if now != seen:
                yield view
            if view["has_ended"]:
                return
            seen = now
            time.sleep(poll)

    def table(self, study_id: int) -> dict[str, Any]:
        """What a study shows, as far as its runs have ended: every number. docs/statistics.md explains them."""
        return self._ask("GET", f"/v1/studies/{study_id}/table")

    def table_text(self, study_id: int, form: str) -> str:
        """The same as `csv`, `markdown` or `latex`."""
        return self._send("GET", f"/v1/studies/{study_id}/table", params={"format": form}).text

    def examples(self, study_id: int) -> dict[str, Any]:
        """The cells beside the baseline on the same test examples: would new examples show a difference?"""
        return self._ask("GET", f"/v1/studies/{study_id}/examples")

    def curves(
        self, study_id: int, *, layers: Sequence[str] = (), measures: Sequence[str] = (), max_points: int = 500
    ) -> dict[str, Any]:
        """The curves of each cell: in buckets of steps the mean over its runs with its interval, minimum, maximum."""
        params = {"layer": layers, "measure": measures, "max_points": max_points}
        return self._ask("GET", f"/v1/studies/{study_id}/curves", params=params)

    def pause(self, study_id: int) -> dict[str, Any]:
        """Keep the study's own jobs from running until it is resumed."""
        return self._ask("POST", f"/v1/studies/{study_id}/pause")

    def resume(self, study_id: int) -> dict[str, Any]:
        """Let the study's own jobs run again."""
        return self._ask("POST", f"/v1/studies/{study_id}/resume")

    def cancel(self, study_id: int) -> dict[str, Any]:
        """Stop the study's own jobs."""
        return self._ask("POST", f"/v1/studies/{study_id}/cancel")

    def extend(
        self, study_id: int, *, seeds: int | Sequence[int] | None = None, arms: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Add seeds (how many more, or which) or arms; the table tells that it was extended."""
        return self._ask("POST", f"/v1/studies/{study_id}/extend", json={"seeds": seeds, "arms": dict(arms or {})})

    def retry(self, study_id: int) -> dict[str, Any]:
        """Run again only what failed or was cancelled."""
        return self._ask("POST", f"/v1/studies/{study_id}/retry")

    def enlist(self, study_id: int, arm: str, tag: str, *, at: Mapping[str, Any] | None = None) -> int:
        """Count your finished jobs and tracked runs with a tag as runs of an arm; returns how many are new."""
        asked = {"arm": arm, "tag": tag, "at": dict(at or {})}
        return int(self._ask("POST", f"/v1/studies/{study_id}/enlist", json=asked)["enlisted"])

    def delete(self, study_id: int) -> None:
        """Delete a study, all of whose own jobs have ended. The jobs stay."""
        self._send("DELETE", f"/v1/studies/{study_id}")

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._send(method, path, **request).json()
        return found
