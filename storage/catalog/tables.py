"""The tables of the catalog. Derived ones can be rebuilt from the object store at any time; live ones cannot.

derived   videos, rounds, stages, masklets, verdicts, checkpoints, metrics
live      leases (who works on what until when), stage_runs (when who ran what)
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "DERIVED",
    "Base",
    "CheckpointRow",
    "LeaseRow",
    "MaskletRow",
    "MetricRow",
    "RoundRow",
    "StageRow",
    "StageRunRow",
    "VerdictRow",
    "VideoRow",
]

_ID = String(200)


class Base(DeclarativeBase):
    """Declarative base of all tables."""


class VideoRow(Base):
    """A video of the library."""

    __tablename__ = "videos"

    video_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    source: Mapped[str]
    split: Mapped[str] = mapped_column(index=True)
    group: Mapped[str]
    height: Mapped[int]
    width: Mapped[int]
    frame_count: Mapped[int]
    annotated_count: Mapped[int]
    fps: Mapped[float]
    duration_s: Mapped[float]


class RoundRow(Base):
    """A round: open until its ``close`` stage is committed."""

    __tablename__ = "rounds"

    round_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    number: Mapped[int] = mapped_column(index=True)
    phase: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(index=True)
    checkpoint_hash_start: Mapped[str]
    checkpoint_hash_end: Mapped[str | None]
    settings_hash: Mapped[str]
    code_version: Mapped[str]
    created_by: Mapped[str]


class StageRow(Base):
    """A committed stage of a round."""

    __tablename__ = "stages"

    round_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    stage: Mapped[str] = mapped_column(_ID, primary_key=True)
    state: Mapped[str]
    commit_hash: Mapped[str] = mapped_column(index=True)
    summary: Mapped[dict[str, Any]] = mapped_column(JSON)


class MaskletRow(Base):
    """A masklet and how far it has come: planned, annotated, accepted, unsatisfactory or rejected."""

    __tablename__ = "masklets"

    masklet_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    video_id: Mapped[str] = mapped_column(_ID, index=True)
    object_id: Mapped[int]
    round_id: Mapped[str] = mapped_column(_ID)
    phase: Mapped[int]
    origin: Mapped[str]
    state: Mapped[str]
    revision: Mapped[int]
    in_dataset: Mapped[bool]

    __table_args__ = (Index("ix_masklets_round_state", "round_id", "state"),)


class VerdictRow(Base):
    """One verifier's verdict on one revision of a masklet."""

    __tablename__ = "verdicts"

    masklet_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    verifier: Mapped[str] = mapped_column(_ID, primary_key=True)
    round_id: Mapped[str] = mapped_column(_ID, index=True)
    desk: Mapped[str]
    verdict: Mapped[str]
    reason: Mapped[str]


class CheckpointRow(Base):
    """Weights that a round trained; promoted if the round put them into the tool."""

    __tablename__ = "checkpoints"

    hash: Mapped[str] = mapped_column(_ID, primary_key=True)
    key: Mapped[str]
    round_id: Mapped[str] = mapped_column(_ID, index=True)
    parent_hash: Mapped[str]
    promoted: Mapped[bool]


class MetricRow(Base):
    """J, F and their mean (0..100) of a model on a video's object; object -1 is the mean over objects."""

    __tablename__ = "metrics"

    round_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    role: Mapped[str] = mapped_column(_ID, primary_key=True)
    protocol: Mapped[str] = mapped_column(_ID, primary_key=True)
    video_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    object_id: Mapped[int] = mapped_column(primary_key=True)
    checkpoint_hash: Mapped[str]
    j: Mapped[float]
    f: Mapped[float]
    jf: Mapped[float]
    frames: Mapped[int]


class LeaseRow(Base):
    """Who may work on a shard until when (seconds since 1970 by the database's clock)."""

    __tablename__ = "leases"

    round_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    stage: Mapped[str] = mapped_column(_ID, primary_key=True)
    shard: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    token: Mapped[str]
    expires_at: Mapped[float] = mapped_column(Float(53))


class StageRunRow(Base):
    """One run of a stage: wall-clock times for people to look at, never part of the record."""

    __tablename__ = "stage_runs"

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    round_id: Mapped[str] = mapped_column(_ID, index=True)
    stage: Mapped[str] = mapped_column(_ID)
    owner: Mapped[str]
    state: Mapped[str]
    message: Mapped[str]
    started_at: Mapped[float] = mapped_column(Float(53))
    finished_at: Mapped[float | None] = mapped_column(Float(53))


DERIVED: tuple[type[Base], ...] = (
    VideoRow,
    RoundRow,
    StageRow,
    MaskletRow,
    VerdictRow,
    CheckpointRow,
    MetricRow,
)
"""Tables that :meth:`storage.catalog.Catalog.rebuild` wipes and fills again."""
