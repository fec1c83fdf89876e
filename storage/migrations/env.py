"""Alembic's entry point: runs in the connection (and transaction) that the catalog hands over."""

from __future__ import annotations

from alembic import context

from storage.catalog.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
context.run_migrations()
