"""How is the service used from a terminal? By `hsu`; one file for each group of commands."""
