"""Which sizes of images does a network accept? Those of many networks are the same."""

from __future__ import annotations

from hsu_core.spec.values import Spec


class For32x32(Spec):
    """A network for images of 32×32 pixels."""

    def misfit(self, shape: tuple[int, int, int]) -> str | None:
        """Why images of this shape do not fit; None if they fit."""
        if shape[1:] == (32, 32):
            return None
        kind: str = self.kind  # type: ignore[attr-defined]  # each member of the menu has one
        return f"{kind} takes images of 32×32 pixels, these have {shape[1]}×{shape[2]}"
