"""How does the service run on one machine with nothing installed? Postgres and Redis from wheels, and every process."""
