"""Which routes are there? One file for each resource."""
