"""How an attempt to run everything on one machine ends before its time."""


class CannotStart(Exception):
    """Something that must run does not: says what, why, and where its log is."""


class Unwanted(Exception):
    """We were asked to stop before everything was up."""
