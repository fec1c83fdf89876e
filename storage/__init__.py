"""Bytes and tables: object store, video frames, masks, manifests, commits, catalog and exports.

The package knows no model. Names are imported from the files that define them (``storage.masks.Rle``).
"""
