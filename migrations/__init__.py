"""Alembic migrations: an empty database to head and back."""
