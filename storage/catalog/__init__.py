"""The SQL catalog: what the engine asks quickly, derived from the commits, plus leases and run times."""

from storage.catalog.catalog import Catalog
from storage.catalog.leases import Lease

__all__ = ["Catalog", "Lease"]
