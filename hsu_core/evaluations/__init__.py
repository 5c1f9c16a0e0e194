"""What is measured of a network once, after its last step? The options of `spec.Evaluate`, a file for each.

Knows tasks, specs and ranks. Knows no training: the loop calls `at_the_end`, and adds what it returns to the result.
"""

from hsu_core.evaluations.options import NOTHING, Found, at_the_end, require

__all__ = ["NOTHING", "Found", "at_the_end", "require"]
