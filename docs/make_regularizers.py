"""Write docs/regularizers.md: what the catalog says of each regularizer, and what it does to 24 points on S².

    python docs/make_regularizers.py

The points are the neurons of a layer with three inputs, trained on the penalty alone, full space, from the same random
start: 600 steps of Adam, cosine schedule from 0.05. Of a penalty on classes they are features of four classes, whose
class vectors are trained with them.
"""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor, nn

from hsu_core import regularizers, spec, sphere
from hsu_core.measures import panel

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
PICTURES = HERE / "regularizers"
POINTS, STEPS, RATE = 24, 600, 0.05
CLASSES = 4
SETTINGS: dict[str, dict[str, Any]] = {"comhe": {"dimension": 2}}
"""Where a default would do nothing in three dimensions."""

HEAD = f"""# Regularizers

What each regularizer computes, where it comes from and when it does not do what one might hope: the same texts that
`GET /v1/catalog` serves. The pictures show {POINTS} neurons with three inputs before and after training on the penalty
alone (full space, {STEPS} steps of Adam); far points are pale. Written by `python docs/make_regularizers.py`.

x = w/‖w‖ are the directions of the n neurons of a layer, or with half space the 2n points ±x; m is their number. The
penalty of a model is the sum over its hidden layers of `hidden_weight` · term, plus `final_weight` · the classifier's
term, which is always in full space. Cost is that of the whole penalty of `cnn9`, forward and backward, in units of
`mhe`'s (`benchmarks/catalog.py`).

Where a default is not what the authors' code does, "Differs from the source" says so. `"preset": "authors"` fills in
theirs, held by the tests to 1e-4 of what their programs return where it says exact; the spec that is kept then states
each value.

The best that 24 points can do on S²: smallest angle 43.69°.
"""


def main() -> None:
    """Write the page and its pictures."""
    PICTURES.mkdir(exist_ok=True)
    kinds = [kind for kind in spec.members(spec.Regularizer) if kind is not spec.NoRegularizer]
    sections = [_section(kind(**SETTINGS.get(kind.model_fields["kind"].default, {}))) for kind in kinds]
    (HERE / "regularizers.md").write_text("\n".join([HEAD, *sections]))


def _section(chosen: Any) -> str:
    before = torch.randn(POINTS, 3, generator=torch.Generator().manual_seed(3))
    after = _trained(chosen, before)
    _draw(PICTURES / f"{chosen.kind}.png", before, after)
    about: spec.About = chosen.about
    summary = " ".join((inspect.getdoc(type(chosen)) or "").split())
    lines = [
        f"## {chosen.kind}",
        "",
        summary,
        "",
        f"$${about.latex}$$",
        "",
        f"In words: {about.plain}. Acts on {about.acts_on}; cost {about.relative_cost:g}.  ",
        f"Source: {about.source}.",
        "",
        f"![before and after](regularizers/{chosen.kind}.png)",
        "",
        f"Smallest angle {_degrees(before)} → {_degrees(after)}, largest hole {_hole(before)} → {_hole(after)}.",
        "",
    ]
    told = {"Caution": about.caution, "Differs from the source": about.differs}
    return "\n".join([*lines, *(line for name, text in told.items() if text for line in (f"**{name}.** {text}", ""))])


def _trained(chosen: spec.Regularizer, start: Tensor) -> Tensor:
    """The neurons after training on the penalty alone; of a penalty on features, a batch of them."""
    network = nn.Sequential(nn.Linear(3, POINTS, bias=False), nn.Linear(POINTS, 2)).train()
    neurons = network[0].weight
    neurons.data.copy_(start)
    alone = {"half_space": False} if isinstance(chosen, spec.SpherePenalty) else {}
    if isinstance(chosen, spec.LayerPenalty):
        alone |= {"hidden_weight": 1.0, "final_weight": 0.0}
    penalty = regularizers.build(chosen.model_copy(update=alone), network, seed=0, total_steps=STEPS)
    trained, classes = [neurons], torch.arange(POINTS) % CLASSES
    if penalty.needs_classes:
        vectors = network[1].weight
        vectors.data = torch.randn(CLASSES, 3, generator=torch.Generator().manual_seed(4))
        trained.append(vectors)
    optimizer = torch.optim.Adam(trained)
    for step in range(STEPS):
        rate = RATE * (1 + math.cos(math.pi * step / STEPS)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        for term in penalty.terms:
            if hasattr(term, "features"):
                term.features = neurons
        optimizer.zero_grad()
        penalty(step, lr=rate, classes=classes).backward()
        optimizer.step()
    return neurons.detach()


def _degrees(w: Tensor) -> str:
    return f"{panel.measure(w, ['min_angle'])['min_angle']:.1f}°"


def _hole(w: Tensor) -> str:
    return f"{sphere.covering_angle(nn.functional.normalize(w.double(), dim=1)):.1f}°"


def _draw(path: Path, *configurations: Tensor) -> None:
    """Each configuration on a transparent sphere, seen from the side; far points are pale."""
    figure, axes = plt.subplots(1, len(configurations), figsize=(5, 2.5))
    for axis, w, title in zip(axes, configurations, ("before", "after"), strict=True):
        x, y, z = nn.functional.normalize(w, dim=1).T
        axis.add_patch(plt.Circle((0, 0), 1, facecolor="0.96", edgecolor="0.7", linewidth=0.8))
        order = z.argsort()
        axis.scatter(
            x[order], y[order], c=z[order], cmap="Blues", vmin=-1.6, vmax=1, s=42, edgecolors="0.4", linewidths=0.4
        )
        axis.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), aspect="equal", title=title)
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
