"""A plug-in for HSU."""

import hsu_core.spec  # noqa: F401  # first: it reads the specs of this package while it is imported
