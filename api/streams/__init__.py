"""How is a long answer sent? Live streams of events, curves and logs, and large downloads."""
