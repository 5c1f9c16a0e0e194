"""How the laws are tried: the same generated points on every run, without a clock, as the first call loads torch."""

from hypothesis import settings

settings.register_profile("laws", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("laws")
