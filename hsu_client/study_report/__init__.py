"""How is a study drawn, and written as a page?

    figures   which figures are there? Intervals by arm, metric against cost or along an axis, curves with bands
    page      one page of HTML with all of it, which opens offline

Needs matplotlib (the `plot` extra). Knows the table of a study; knows nothing of HTTP.
"""

from hsu_client.study_report.figures import KINDS, bands, figure, save
from hsu_client.study_report.page import page

__all__ = ["KINDS", "bands", "figure", "page", "save"]
