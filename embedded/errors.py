"""How can running everything on one machine end early?"""


class CannotStart(Exception):
    """A required process does not run: the message says which, why, and where its log is."""


class Unwanted(Exception):
    """We were asked to stop before everything was up."""
