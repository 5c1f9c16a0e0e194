"""How are the energies computed near the hardware's limit? Same names and values, with closed-form gradients.

Every function takes the same (n, d) weights as in `hsu_core.energies`, or a stack of several, (b, n, d), and returns as
many values. The differences, everywhere in this package:

- The gradient is given, not recorded: memory grows with n·tile, and a second derivative raises an error.
- float16 and bfloat16 are computed in float32, and autocast is switched off inside. The value is float32 then.
- A row of zeros has no direction. It counts as orthogonal to every other row, as if it had a dimension of its own, and
  gets the gradient 0.
- Points that coincide have a finite energy and no force: see `pairs.CORE`.
- The host never waits for a GPU. On a GPU, and in a stack, only a row's nearest partner in a tile is computed again
  from differences.
- `low_precision` multiplies matrices in bfloat16 and computes the rest in float32: a gradient is correct to about 1 %.
"""

from hsu_core.fast.at_poles import covering, polarization, resultant
from hsu_core.fast.closest import separation
from hsu_core.fast.determinant import gram_determinant
from hsu_core.fast.repulsion import riesz

__all__ = ["covering", "gram_determinant", "polarization", "resultant", "riesz", "separation"]
