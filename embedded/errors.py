"""What goes wrong when a machine is to run everything itself."""


class CannotStart(Exception):
    """Something that must run does not: says what, why, and where its log is."""
