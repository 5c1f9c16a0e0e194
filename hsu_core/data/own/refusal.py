"""What is wrong with a data set that a user brings? Told with the name of the file, for the person who can mend it."""

from __future__ import annotations


class Refused(Exception):
    """The data cannot be converted: the message names the file, what was expected, and what was found."""
