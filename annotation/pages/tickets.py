"""What was published: a work item, how it is shown, and the masks it starts from, for ever the same.

A ticket is written once, before people see it. Whatever happens at the page, at the model server or to the engine,
everybody reads the same ticket again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from annotation.errors import AnnotationError, PageError, TicketError
from annotation.pages.views import PageView
from annotation.records import JsonReader, check_text, check_whole
from annotation.work import WorkItem
from storage.commits import canonical_json
from storage.errors import ObjectNotFound, StoreError
from storage.masks import Rle
from storage.objects import ObjectStore, checked_key

__all__ = ["Ticket", "TicketStore", "key_part", "read_frame_masks", "write_frame_masks"]

_FOLDER = "studio/tickets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One published piece of work.

    ticket_id: the item's task id, with `-w02` for the second window of a long video and `-a2` when it is asked a second
    time. carried: masks by source frame that the window before handed on. checkpoint_hash, sam_checkpoint_hash,
    precision: the networks that help with it.
    """

    ticket_id: str
    item: WorkItem
    view: PageView
    carried: Mapping[int, Rle] = field(default_factory=dict)
    attempt: int = 1
    checkpoint_hash: str
    sam_checkpoint_hash: str = ""
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_text("ticket", "ticket_id", self.ticket_id)
        check_whole("ticket", "attempt", self.attempt, least=1)
        for name, frames in (("carried", self.carried), ("masks", self.item.masks)):
            self._check_sizes(name, frames)
        for frame in self.carried:
            self.view.page_of(frame)

    @property
    def round_id(self) -> str:
        """The round it belongs to."""
        return self.item.round_id

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; equal tickets give equal text."""
        return {
            "ticket_id": self.ticket_id,
            "item": self.item.to_json(),
            "view": self.view.to_json(),
            "carried": write_frame_masks(self.carried),
            "attempt": self.attempt,
            "checkpoint_hash": self.checkpoint_hash,
            "sam_checkpoint_hash": self.sam_checkpoint_hash,
            "precision": self.precision,
        }

    @classmethod
    def from_json(cls, value: object) -> Ticket:
        """The inverse of `to_json`; RecordError or PageError names what is wrong."""
        reader = JsonReader(value, "ticket")
        ticket = cls(
            ticket_id=reader.text("ticket_id"),
            item=reader.nested("item", WorkItem.from_json),
            view=reader.nested("view", PageView.from_json),
            carried=read_frame_masks(reader, "carried"),
            attempt=reader.whole("attempt"),
            checkpoint_hash=reader.text("checkpoint_hash"),
            sam_checkpoint_hash=reader.text("sam_checkpoint_hash"),
            precision=reader.text("precision"),
        )
        reader.finish()
        return ticket

    def _check_sizes(self, name: str, masks: Mapping[int, Rle]) -> None:
        size = self.view.source_height, self.view.source_width
        for frame, rle in masks.items():
            if (rle.height, rle.width) != size:
                raise PageError(
                    f"Ticket {self.ticket_id}: the mask of frame {frame} in {name!r} is {rle.height}x{rle.width} "
                    f"pixels, the video {size[0]}x{size[1]} (height x width)."
                )


class TicketStore:
    """Tickets in the object store, by round and id."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, ticket: Ticket) -> None:
        """Keep a ticket. The same one again changes nothing; other content under its id is a TicketError."""
        key, data = self._key(ticket.round_id, ticket.ticket_id), canonical_json(ticket.to_json())
        if not self._store.put_if_absent(key, data) and self._store.get(key) != data:
            raise TicketError(
                f"Ticket {ticket.ticket_id} of {ticket.round_id} was published before with other content. What people "
                "work on never changes; publish it under another id."
            )

    def get(self, round_id: str, ticket_id: str) -> Ticket:
        """The ticket as it was published. TicketError if there is none or it is damaged."""
        key = self._key(round_id, ticket_id)
        try:
            ticket = Ticket.from_json(json.loads(self._store.get(key)))
        except ObjectNotFound as error:
            raise TicketError(
                f"There is no ticket {ticket_id!r} in round {round_id!r} of {self._store.url}."
            ) from error
        except (AnnotationError, ValueError) as error:
            raise TicketError(
                f"{key} in {self._store.url} is damaged: {error} Restore it from a backup."
            ) from error
        if (ticket.round_id, ticket.ticket_id) != (round_id, ticket_id):
            raise TicketError(f"{key} in {self._store.url} holds another ticket: {ticket.ticket_id}.")
        return ticket

    def ids(self, round_id: str) -> Iterator[str]:
        """Ids of the round's tickets, sorted."""
        folder = f"{_FOLDER}/{key_part(round_id)}/"
        for key in self._store.list(folder):
            yield key.removeprefix(folder).removesuffix(".json")

    def _key(self, round_id: str, ticket_id: str) -> str:
        return f"{_FOLDER}/{key_part(round_id)}/{key_part(ticket_id)}.json"


def key_part(name: str) -> str:
    """An id that is one part of a key of the store. PageError if it cannot be one."""
    try:
        if "/" in name:
            raise PageError(f"{name!r} cannot be an id here: it holds a slash.")
        return checked_key(name)
    except StoreError as error:
        raise PageError(f"{name!r} cannot be an id here: {error}.") from error


def write_frame_masks(masks: Mapping[int, Rle]) -> list[dict[str, Any]]:
    """Masks by source frame as JSON, in the order of the frames."""
    return [{"frame": frame, "rle": rle.to_coco()} for frame, rle in sorted(masks.items())]


def read_frame_masks(reader: JsonReader, name: str) -> dict[int, Rle]:
    """The inverse of `write_frame_masks`, for a field of a record."""
    return dict(reader.each(name, _read_frame_mask))


def _read_frame_mask(value: object) -> tuple[int, Rle]:
    reader = JsonReader(value, "mask of a frame")
    pair = reader.whole("frame"), reader.rle("rle")
    reader.finish()
    return pair
