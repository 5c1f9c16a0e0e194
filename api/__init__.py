"""How you ask: the HTTP service."""
