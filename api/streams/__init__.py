"""How does an answer go on for long? Wakeups streams of events, curves and logs, and large downloads."""
