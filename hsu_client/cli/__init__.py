"""`hsu`: the service from a terminal, a file a group of commands."""
