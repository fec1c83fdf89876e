"""The first tables of the catalog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates every table."""
    _create_checkpoints()
    _create_leases()
    _create_masklets()
    _create_metrics()
    _create_rounds()
    _create_stage_runs()
    _create_stages()
    _create_verdicts()
    _create_videos()


def _create_checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("hash", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("round_id", sa.String(length=200), nullable=False),
        sa.Column("parent_hash", sa.String(), nullable=False),
        sa.Column("promoted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index(op.f("ix_checkpoints_round_id"), "checkpoints", ["round_id"], unique=False)


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("round_id", sa.String(length=200), nullable=False),
        sa.Column("stage", sa.String(length=200), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("round_id", "stage", "shard"),
    )


def _create_masklets() -> None:
    op.create_table(
        "masklets",
        sa.Column("masklet_id", sa.String(length=200), nullable=False),
        sa.Column("video_id", sa.String(length=200), nullable=False),
        sa.Column("object_id", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.String(length=200), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("in_dataset", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("masklet_id"),
    )
    op.create_index("ix_masklets_round_state", "masklets", ["round_id", "state"], unique=False)
    op.create_index(op.f("ix_masklets_video_id"), "masklets", ["video_id"], unique=False)


def _create_metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("round_id", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=200), nullable=False),
        sa.Column("protocol", sa.String(length=200), nullable=False),
        sa.Column("video_id", sa.String(length=200), nullable=False),
        sa.Column("object_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_hash", sa.String(), nullable=False),
        sa.Column("j", sa.Float(), nullable=False),
        sa.Column("f", sa.Float(), nullable=False),
        sa.Column("jf", sa.Float(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("round_id", "role", "protocol", "video_id", "object_id"),
    )


def _create_rounds() -> None:
    op.create_table(
        "rounds",
        sa.Column("round_id", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("checkpoint_hash_start", sa.String(), nullable=False),
        sa.Column("checkpoint_hash_end", sa.String(), nullable=True),
        sa.Column("settings_hash", sa.String(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("round_id"),
    )
    op.create_index(op.f("ix_rounds_number"), "rounds", ["number"], unique=False)
    op.create_index(op.f("ix_rounds_state"), "rounds", ["state"], unique=False)


def _create_stage_runs() -> None:
    op.create_table(
        "stage_runs",
        sa.Column("run_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("round_id", sa.String(length=200), nullable=False),
        sa.Column("stage", sa.String(length=200), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(precision=53), nullable=False),
        sa.Column("finished_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index(op.f("ix_stage_runs_round_id"), "stage_runs", ["round_id"], unique=False)


def _create_stages() -> None:
    op.create_table(
        "stages",
        sa.Column("round_id", sa.String(length=200), nullable=False),
        sa.Column("stage", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("commit_hash", sa.String(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("round_id", "stage"),
    )
    op.create_index(op.f("ix_stages_commit_hash"), "stages", ["commit_hash"], unique=False)


def _create_verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("masklet_id", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("verifier", sa.String(length=200), nullable=False),
        sa.Column("round_id", sa.String(length=200), nullable=False),
        sa.Column("desk", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("masklet_id", "revision", "verifier"),
    )
    op.create_index(op.f("ix_verdicts_round_id"), "verdicts", ["round_id"], unique=False)


def _create_videos() -> None:
    op.create_table(
        "videos",
        sa.Column("video_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("frame_count", sa.Integer(), nullable=False),
        sa.Column("annotated_count", sa.Integer(), nullable=False),
        sa.Column("fps", sa.Float(), nullable=False),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("video_id"),
    )
    op.create_index(op.f("ix_videos_split"), "videos", ["split"], unique=False)
