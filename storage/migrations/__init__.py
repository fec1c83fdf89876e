"""Alembic migrations of the catalog; run by :meth:`storage.catalog.Catalog.migrate`."""
