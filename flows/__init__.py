"""Prefect's side of the engine: one file a stage, `round.py` strings them together, `server.py` gives them a
server.

Thin on purpose: what a stage does is in `engine.stages`, how it commits in `engine.machine`. Only this
package imports Prefect, and only when a round runs: importing `flows` or `flows.server` does not load it.
"""

from __future__ import annotations
