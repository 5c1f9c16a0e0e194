"""What does a training cost, before anything is built? Importing it costs no torch."""

from hsu_core.costs.training_costs import Costs, Memory, estimate

__all__ = ["Costs", "Memory", "estimate"]
