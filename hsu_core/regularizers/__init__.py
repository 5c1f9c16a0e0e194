"""What is the penalty of a model? Which weights are points, what each layer adds, and the weighted sum."""

from hsu_core.regularizers.building import build
from hsu_core.regularizers.feature_terms import Classes
from hsu_core.regularizers.layers import OwnPoints
from hsu_core.regularizers.penalty import Penalty

__all__ = ["Classes", "OwnPoints", "Penalty", "build"]
