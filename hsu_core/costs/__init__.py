"""What does a training cost, before anything is built? Importing it does not load torch."""

from hsu_core.costs.training_costs import Costs, Memory, estimate

__all__ = ["Costs", "Memory", "estimate"]
