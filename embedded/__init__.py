"""One machine, nothing installed: real Postgres and Redis from wheels, and every process of the service."""
