"""How do the processes that serve the app behave? Bounds of connections, and the end of the parent."""
