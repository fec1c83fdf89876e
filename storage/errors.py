"""What can go wrong, as one tree; every message is written for the person who reads it.

EngineError             root of the whole product: the message says what, where, and what to do
├── StoreError          the object store could not do what was asked (disk, network, rights, bad key)
│   └── ObjectNotFound  nothing is stored under that key
├── VideoError          a video cannot be read, or a frame is asked for that is not stored
├── MaskError           a mask or an RLE string is malformed, or sizes disagree
├── ManifestError       a manifest or commit record is damaged, or rows do not fit its schema
├── CatalogError        the SQL catalog is unreachable, damaged, or newer than this code
│   ├── CatalogDamaged  its file is no database (any more): rebuild it
│   └── LeaseLost       a lease expired and somebody else may hold it now
├── ExportError         an export cannot be written as asked
└── ImportProblem       masks from elsewhere are not there, cannot be read, or do not fit their video
"""

from __future__ import annotations

__all__ = [
    "CatalogDamaged",
    "CatalogError",
    "EngineError",
    "ExportError",
    "ImportProblem",
    "LeaseLost",
    "ManifestError",
    "MaskError",
    "ObjectNotFound",
    "StoreError",
    "VideoError",
]


class EngineError(Exception):
    """Root of every error the engine raises on purpose; its text is shown to the user as it is."""


class StoreError(EngineError):
    """The object store could not do what was asked."""


class ObjectNotFound(StoreError):
    """Nothing is stored under the key."""


class VideoError(EngineError):
    """A video cannot be read, or a frame is asked for that is not stored."""


class MaskError(EngineError):
    """A mask or an RLE string is malformed, or two sizes disagree."""


class ManifestError(EngineError):
    """A manifest or a commit record is damaged, or rows do not fit the declared schema."""


class CatalogError(EngineError):
    """The SQL catalog is unreachable, damaged, or newer than this code."""


class CatalogDamaged(CatalogError):
    """The catalog's file is no database (any more); it can be rebuilt from the commits."""


class LeaseLost(CatalogError):
    """A lease expired before it was renewed; whoever held it must stop writing for that shard."""


class ExportError(EngineError):
    """An export cannot be written as asked."""


class ImportProblem(EngineError):
    """Masks from elsewhere are not there, cannot be read, or do not fit their video."""
