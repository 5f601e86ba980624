"""Alembic migrations; CONTRIBUTING says how to add one."""
