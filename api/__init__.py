"""How does a client use the service? Over HTTP."""
