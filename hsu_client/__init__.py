"""How do users reach the service? By a Python client and a command line over HTTP."""
