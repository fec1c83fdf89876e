"""Errors of the engine itself.

EngineError (storage.errors)
├── SettingsError   a setting or a flag is wrong: exit code 2
├── HomeError       the engine's home folder cannot be used
└── RoundError      a round cannot be opened or continued
"""

from __future__ import annotations

from storage.errors import EngineError

__all__ = ["EngineError", "HomeError", "RoundError", "SettingsError"]


class SettingsError(EngineError):
    """A setting or a flag is unknown or has a bad value."""


class HomeError(EngineError):
    """The engine's home folder is missing, not writable or not a home."""


class RoundError(EngineError):
    """A round cannot be opened or continued as asked."""
