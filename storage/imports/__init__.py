"""Masks from elsewhere for videos of the library: folders of pictures and SA-V's JSON."""

from storage.imports.finding import FoundMasks, find_masks
from storage.imports.reading import read_masks

__all__ = ["FoundMasks", "find_masks", "read_masks"]
