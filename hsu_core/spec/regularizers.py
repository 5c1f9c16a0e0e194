"""Which penalties may be asked for? The family of hyperspherical uniformity, and what a lab compares it with.

Knows names, ranges, sources and what is known of each. Knows no tensors: the mathematics is in `hsu_core.energies`
and `hsu_core.baselines`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from hsu_core.spec.values import Fraction, NonNegative, Positive, Spec


class About(NamedTuple):
    """What the catalog says of a regularizer."""

    latex: str
    """The penalty of one layer, before its weight; lower is better."""
    plain: str
    source: str
    acts_on: Literal["nothing", "weights", "features"]
    relative_cost: float
    """Forward and backward of the whole penalty of `cnn9`, in units of `mhe`'s: benchmarks/catalog.py, one thread."""
    caution: str = ""
    """Known degeneracies: when it does not do what one might hope."""


# --- when and where a penalty acts -----------------------------------------------------------------------------------


class Steady(Spec):
    """The weight stays."""

    kind: Literal["steady"] = "steady"


class WarmUp(Spec):
    """The weight rises linearly from 0."""

    kind: Literal["warmup"] = "warmup"
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Part of the whole training after which it is full."""


class Decay(Spec):
    """The weight falls linearly over the whole training."""

    kind: Literal["decay"] = "decay"
    to: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Part of the full weight that is left at the end."""


WeightSchedule = Annotated[Steady | WarmUp | Decay, Field(discriminator="kind")]


class Penalty(Spec):
    """How much a penalty weighs in the loss, and when."""

    about: ClassVar[About]

    kind: str
    schedule: WeightSchedule = Steady()
    every: Annotated[int, Field(ge=1, le=10_000)] = 1
    """The penalty acts on every k-th step, k times as strong: the mean gradient stays."""


class LayerPenalty(Penalty):
    """A penalty on the weights of layers."""

    hidden_weight: NonNegative
    """Weight of each hidden layer's term."""
    final_weight: NonNegative
    """Weight of the classifier's term."""
    layers: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    """Names or patterns (`conv1_*`) of the layers that it acts on."""
    layer_weights: dict[str, NonNegative] = Field(default={})
    """Factors by name or pattern, on top of the weights above; the first that matches counts."""


class SpherePenalty(LayerPenalty):
    """A penalty of the family: on the directions of neurons."""

    half_space: bool = True
    """Also count the mirror images −x. Hidden layers only, never the classifier."""
    low_precision: bool = False
    """Multiply in bfloat16; everything else stays in float32. Gradients are then right to about 1 %."""


class AuthorsPole(Spec):
    """One pole for all of training, moved by momentum SGD before each step: the authors' way."""

    kind: Literal["authors"] = "authors"
    steps: Annotated[int, Field(ge=1, le=1000)] = 10
    """Steps of the pole for one step of the network."""
    lr: Positive | None = None
    """Learning rate of the pole; by default that of the network at the time."""
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 5e-4


class FreshPoles(Spec):
    """Many random poles at each step, each moved a few steps; the worst ones count: the way that works."""

    kind: Literal["fresh"] = "fresh"
    poles: Annotated[int, Field(ge=1, le=65536)] = 64
    steps: Annotated[int, Field(ge=0, le=1000)] = 10
    """Steps of each pole, of falling length, along the normalised gradient on the sphere."""


Inner = Annotated[FreshPoles | AuthorsPole, Field(discriminator="kind")]
_INNER = (
    "In half space with n < d a pole orthogonal to every neuron exists, and the exact inner optimum is {value} "
    "whatever the weights are: the penalty then acts only through the lag of its poles. With `inner: authors` one "
    "lagging pole {lag}. The gap to a better inner solution is recorded as `inner_gap`."
)


# --- the family ------------------------------------------------------------------------------------------------------


class NoRegularizer(Spec):
    """No penalty: the baseline. Weight decay is the optimizer's."""

    kind: Literal["none"] = "none"
    about: ClassVar[About] = About("0", "0", "—", "nothing", relative_cost=0.0)


class MHE(SpherePenalty):
    """Minimum hyperspherical energy: neurons repel each other like charges."""

    kind: Literal["mhe"] = "mhe"
    s: Annotated[float, Field(ge=0, le=64, allow_inf_nan=False)] = 2.0
    """Riesz exponent; 0 is the logarithmic energy."""
    angular: bool = False
    """Repel by the angle, in units of π, in place of the Euclidean distance."""
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's energy; the authors use 1 (0.1 for angular s = 1, 2)."""
    final_weight: NonNegative = 10.0
    """Weight of the classifier's energy; the authors use 10 (1 for angular s = 1, 2)."""

    about: ClassVar[About] = About(
        latex=r"\frac{1}{\binom{m}{2}}\sum_{i<j}\rho_{ij}^{-s},\quad \rho_{ij}=\|x_i-x_j\|\ \text{or}\ "
        r"\tfrac{1}{\pi}\arccos(x_i\cdot x_j);\quad s=0:\ -\ln\rho_{ij}",
        plain="mean over pairs i < j of 1/ρᵢⱼ^s (s = 0: −ln ρᵢⱼ), ρ = ‖xᵢ − xⱼ‖ or the angle/π",
        source="Liu et al. 2018, Learning towards Minimum Hyperspherical Energy, arXiv 1805.09298, eq. 1",
        acts_on="weights",
        relative_cost=1,
        caution="With few neurons there is nothing more to choose: for every s the simplex (n ≤ d + 1, Euclidean) and, "
        "in half space, orthonormal rows (n ≤ d) are optimal.",
    )


class MHS(SpherePenalty):
    """Maximum hyperspherical separation: the closest pair is pushed apart."""

    kind: Literal["mhs"] = "mhs"
    hidden_weight: NonNegative = 0.1
    """Weight of each hidden layer's term; the authors use 0.1."""
    final_weight: NonNegative = 1.0
    """Weight of the classifier's term; the authors use 1."""

    about: ClassVar[About] = About(
        latex=r"-\min_{i<j}\|x_i-x_j\|^2",
        plain="−(the smallest squared distance of a pair)",
        source="Liu et al. 2021, Learning with Hyperspherical Uniformity, arXiv 2103.01649, sec. 4",
        acts_on="weights",
        relative_cost=0.6,
        caution="Only the closest pair has a gradient: two of n neurons move at a step. A layer of one neuron has no "
        "pair and is skipped.",
    )


class MHP(SpherePenalty):
    """Maximum hyperspherical polarization: no point of the sphere sees the neurons from afar."""

    kind: Literal["mhp"] = "mhp"
    inner: Inner = FreshPoles()
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's term; the authors use 1."""
    final_weight: NonNegative = 10.0
    """Weight of the classifier's term; the authors use 10."""

    about: ClassVar[About] = About(
        latex=r"-\min_{v}\frac1m\sum_i\|v-x_i\|^{-2}",
        plain="−(the smallest mean of 1/‖v − xᵢ‖² over poles v)",
        source="Liu et al. 2021, Learning with Hyperspherical Uniformity, arXiv 2103.01649, sec. 4",
        acts_on="weights",
        relative_cost=5,
        caution=_INNER.format(value="1/2", lag="can even collapse a layer: max |cos| .14 → .97 on 64×576"),
    )


class RMHP(LayerPenalty):
    """Relaxed maximum hyperspherical polarization: the neurons sum to zero."""

    kind: Literal["rmhp"] = "rmhp"
    hidden_weight: NonNegative = 0.01
    """Weight of each hidden layer's term; the authors use 0.01."""
    final_weight: NonNegative = 0.1
    """Weight of the classifier's term; the authors use 0.1."""

    about: ClassVar[About] = About(
        latex=r"\Bigl\|\sum_i w_i\Bigr\|",
        plain="‖Σᵢ wᵢ‖ of the raw weights",
        source="Liu et al. 2021, Learning with Hyperspherical Uniformity, arXiv 2103.01649, sec. 4",
        acts_on="weights",
        relative_cost=0.1,
        caution="A zero sum is far from uniform, so alone it never reaches a uniform configuration. It acts on raw "
        "weights: shrinking them lowers it too. There is no half space: mirror images always sum to zero.",
    )


class MHC(SpherePenalty):
    """Minimum hyperspherical covering: no point of the sphere is far from a neuron."""

    kind: Literal["mhc"] = "mhc"
    gamma: Positive = 10.0
    """Sharpness of the soft minimum over the neurons."""
    inner: Inner = FreshPoles()
    hidden_weight: NonNegative = 0.01
    """Weight of each hidden layer's term; the authors use 0.01."""
    final_weight: NonNegative = 0.1
    """Weight of the classifier's term; the authors use 0.1."""

    about: ClassVar[About] = About(
        latex=r"\max_v -\frac1\gamma\ln\frac1m\sum_i e^{-\gamma\|v-x_i\|^2}",
        plain="the largest, over poles v, of the soft minimum of ‖v − xᵢ‖²",
        source="Liu et al. 2021, Learning with Hyperspherical Uniformity, arXiv 2103.01649, sec. 4",
        acts_on="weights",
        relative_cost=6,
        caution=_INNER.format(value="2", lag="stays far from a covering: 62–71° against 37.4° for 12 points on S²"),
    )


class MGD(SpherePenalty):
    """Maximum Gram determinant: the neurons span the largest volume in a kernel's feature space."""

    kind: Literal["mgd"] = "mgd"
    hidden_weight: NonNegative = 0.01
    """Weight of each hidden layer's term; the authors use 0.01."""
    final_weight: NonNegative = 0.1
    """Weight of the classifier's term; the authors use 0.1."""

    about: ClassVar[About] = About(
        latex=r"-\ln\det\bigl(K+10^{-6}I\bigr),\quad K_{ij}=e^{-\|x_i-x_j\|^2}",
        plain="−ln det(K + 10⁻⁶ I), Kᵢⱼ = exp(−‖xᵢ − xⱼ‖²)",
        source="Liu et al. 2021, Learning with Hyperspherical Uniformity, arXiv 2103.01649, sec. 4",
        acts_on="weights",
        relative_cost=1.5,
        caution="For n far above d the kernel is singular to rounding, and the 10⁻⁶ decides. The cost grows with n³.",
    )


# --- what it is compared with, on weights ----------------------------------------------------------------------------

_BANSAL = "Bansal et al. 2018, Can We Gain More from Orthogonality Regularizations, arXiv 1810.09102"


class SO(LayerPenalty):
    """Soft orthogonality: unit length and right angles."""

    kind: Literal["so"] = "so"
    hidden_weight: NonNegative = 1e-2
    final_weight: NonNegative = 0.0

    about: ClassVar[About] = About(
        latex=r"\|WW^\top-I\|_F^2",
        plain="‖WWᵀ − I‖²_F of the raw weights",
        source=f"{_BANSAL}, eq. 4",
        acts_on="weights",
        relative_cost=1.5,
        caution="For n > d it cannot be 0, and its minimum is any tight frame, duplicates included.",
    )


class DSO(LayerPenalty):
    """Double soft orthogonality, for layers with more neurons than inputs too."""

    kind: Literal["dso"] = "dso"
    hidden_weight: NonNegative = 1e-2
    final_weight: NonNegative = 0.0

    about: ClassVar[About] = About(
        latex=r"\|WW^\top-I\|_F^2+\|W^\top W-I\|_F^2",
        plain="‖WWᵀ − I‖²_F + ‖WᵀW − I‖²_F of the raw weights",
        source=f"{_BANSAL}, eq. 5",
        acts_on="weights",
        relative_cost=1.5,
        caution="The two terms differ by the constant n − d, so the gradient is just twice that of `so`.",
    )


class MutualCoherence(LayerPenalty):
    """Mutual coherence: the worst entry of the Gram matrix."""

    kind: Literal["mutual_coherence"] = "mutual_coherence"
    hidden_weight: NonNegative = 1e-1
    final_weight: NonNegative = 0.0

    about: ClassVar[About] = About(
        latex=r"\max_{ij}\,\bigl|(WW^\top-I)_{ij}\bigr|",
        plain="the largest |entry| of WWᵀ − I, raw weights",
        source=f"{_BANSAL}, eq. 6",
        acts_on="weights",
        relative_cost=1.5,
        caution="One entry has the gradient at a time, and while lengths differ from 1 it is a diagonal one.",
    )


class SRIP(LayerPenalty):
    """Spectral restricted isometry: the worst stretch of any direction."""

    kind: Literal["srip"] = "srip"
    iterations: Annotated[int, Field(ge=1, le=100)] = 2
    """Steps of the power iteration; the authors use 2."""
    hidden_weight: NonNegative = 1e-1
    final_weight: NonNegative = 0.0

    about: ClassVar[About] = About(
        latex=r"\sigma\bigl(WW^\top-I\bigr)",
        plain="the spectral norm of WWᵀ − I, raw weights, by power iteration from a random start",
        source=f"{_BANSAL}, eqs. 7 to 9",
        acts_on="weights",
        relative_cost=0.7,
        caution="Two iterations from a random start give a lower bound that varies from step to step.",
    )


class MMA(LayerPenalty):
    """Maximal minimal angles: each neuron is turned away from its nearest one."""

    kind: Literal["mma"] = "mma"
    hidden_weight: NonNegative = 0.07
    """The authors use 0.07 for hidden layers."""
    final_weight: NonNegative = 0.0

    about: ClassVar[About] = About(
        latex=r"-\frac1n\sum_i\min_{j\ne i}\theta_{ij}",
        plain="−(mean over neurons of the angle to the nearest other one), radians",
        source="Wang et al. 2020, MMA Regularization, arXiv 2006.06527, eq. 5",
        acts_on="weights",
        relative_cost=1.9,
        caution="The gradient jumps where the nearest neighbour changes. A layer of one neuron is skipped.",
    )


class CoMHE(SpherePenalty):
    """Compressive MHE: the energy of neurons projected to fewer dimensions."""

    kind: Literal["comhe"] = "comhe"
    projection: Literal["random", "angle", "adversarial"] = "random"
    """random: fresh Gaussian matrices; angle: moved to preserve the pairwise angles; adversarial: moved to raise the
    energy."""
    dimension: Annotated[int, Field(ge=2, le=65536)] = 30
    """Dimension of the projected neurons; layers of no more inputs than that are not projected."""
    projections: Annotated[int, Field(ge=1, le=256)] = 20
    """Random projections whose energies are averaged; the other kinds keep one."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Gradient steps of a kept projection for one step of the network."""
    lr: Positive = 0.01
    """Learning rate of a kept projection."""
    s: Annotated[float, Field(ge=0, le=64, allow_inf_nan=False)] = 2.0
    """Riesz exponent; 0 is the logarithmic energy."""
    angular: bool = False
    """Repel by the angle, in units of π, in place of the Euclidean distance."""
    hidden_weight: NonNegative = 1.0
    final_weight: NonNegative = 1.0

    about: ClassVar[About] = About(
        latex=r"\frac1c\sum_{k=1}^{c}E_s\bigl(\{P_k x_i\}\bigr)",
        plain="mean over projections P of the mhe of the projected neurons",
        source="Lin et al. 2020, Regularizing Neural Networks via Minimizing Hyperspherical Energy, arXiv 1906.04892",
        acts_on="weights",
        relative_cost=9,
        caution="More than `dimension` + 1 neurons cannot all be far apart after a projection: the energy stays above "
        "what the layer itself could reach.",
    )


# --- what it is compared with, on features ---------------------------------------------------------------------------


class FeaturePenalty(Penalty):
    """A penalty on a batch of features: the inputs of the classifier."""

    weight: NonNegative


class Uniformity(FeaturePenalty):
    """Uniformity of features: the Gaussian potential of the batch."""

    kind: Literal["uniformity"] = "uniformity"
    t: Positive = 2.0
    """Sharpness of the Gaussian kernel."""
    weight: NonNegative = 0.1

    about: ClassVar[About] = About(
        latex=r"\ln\frac{1}{\binom{b}{2}}\sum_{i<j}e^{-t\|z_i-z_j\|^2}",
        plain="ln of the mean over pairs of exp(−t ‖zᵢ − zⱼ‖²), z the normalised features of the batch",
        source="Wang and Isola 2020, Alignment and Uniformity on the Hypersphere, arXiv 2005.10242",
        acts_on="features",
        relative_cost=0.04,
        caution="With labels it works against the loss, which gathers a class: keep the weight small.",
    )


class KoLeo(FeaturePenalty):
    """Kozachenko–Leonenko entropy of features: each is pushed from its nearest neighbour."""

    kind: Literal["koleo"] = "koleo"
    weight: NonNegative = 0.1

    about: ClassVar[About] = About(
        latex=r"-\frac1b\sum_i\ln\Bigl(\min_{j\ne i}\|z_i-z_j\|+10^{-8}\Bigr)",
        plain="−(mean over the batch of ln of the distance to the nearest other feature), normalised features",
        source="Sablayrolles et al. 2019, Spreading Vectors for Similarity Search, arXiv 1806.03198, eq. 4",
        acts_on="features",
        relative_cost=0.02,
        caution="With labels it works against the loss, which gathers a class: keep the weight small.",
    )


Regularizer = Annotated[
    NoRegularizer
    | MHE
    | MHS
    | MHP
    | RMHP
    | MHC
    | MGD
    | SO
    | DSO
    | MutualCoherence
    | SRIP
    | MMA
    | CoMHE
    | Uniformity
    | KoLeo,
    Field(discriminator="kind"),
]
