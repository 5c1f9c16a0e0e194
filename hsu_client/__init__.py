"""How do users reach the service? By a Python client and a command line over HTTP."""

from hsu_client.tracking import Run, track

__all__ = ["Run", "track"]
