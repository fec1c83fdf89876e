"""Rounds through Label Studio: work items published as tasks, what people hand in collected and checked."""

from __future__ import annotations

from annotation.studio.asking import Networks
from annotation.studio.client import StudioClient
from annotation.studio.people import LabelStudioPeople
from annotation.studio.pictures import TicketPictures

__all__ = ["LabelStudioPeople", "Networks", "StudioClient", "TicketPictures"]
