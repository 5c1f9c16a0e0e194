"""How does an answer go on for long? Live streams of events, curves and logs, and large downloads."""
