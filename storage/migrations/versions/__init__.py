"""One file a version of the catalog's tables."""
