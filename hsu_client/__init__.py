"""The desk: a Python client and a command line over HTTP."""
