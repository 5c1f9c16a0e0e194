"""What a job is: its spec, states, rows, queries and curves. Knows neither FastAPI nor torch."""
