"""How are points placed on a sphere directly? Thomson, Tammes, covering, polarization and others, in float64."""

from hsu_core.sphere.placement import Configuration, Worth, evaluate, optimize
from hsu_core.sphere.worst_pole import Pole, angle_degrees, covering_angle, covering_pole, polarization_pole

__all__ = [
    "Configuration",
    "Pole",
    "Worth",
    "angle_degrees",
    "covering_angle",
    "covering_pole",
    "evaluate",
    "optimize",
    "polarization_pole",
]
