"""What stands at the top of a task, in words: what the object is, what is to be done, and what was wrong before."""

from __future__ import annotations

from annotation.pages.tickets import Ticket
from annotation.work import WorkItem

__all__ = ["notice", "with_refusal", "wrong_person_notice"]

_TO_DO = {
    1: "Mark it on every frame, each by itself: click, box or brush; X where it is absent.",
    2: "Mark it on its first frame, p carries the mask on; correct a frame, then p again. X where it is absent.",
    3: "Check the masks; click on a frame that is wrong, then p. X where the object is absent.",
}
_REFUSED = "NOT ACCEPTED YET: "


def notice(ticket: Ticket) -> str:
    """The text of a fresh task."""
    item = ticket.item
    say = {"select": _select, "annotate": _annotate, "verify": _verify}[item.kind]
    return " ".join(part for part in (*say(ticket), _again(ticket)) if part)


def with_refusal(text: str, reason: str) -> str:
    """A notice that begins with why a submission was not accepted; an earlier such beginning goes."""
    return f"{_REFUSED}{_sentence(reason)} Open your annotation, mend it, and press Update.\n{text}"


def wrong_person_notice(text: str) -> str:
    """A notice for a verdict by somebody who made the masklet."""
    return (
        f"{_REFUSED}you made masks of this object, so somebody else has to judge them. It was asked again; "
        f"there is nothing left to do here.\n{text}"
    )


def _select(ticket: Ticket) -> tuple[str, ...]:
    item = ticket.item
    objects = "one object" if item.wanted == 1 else f"up to {item.wanted} objects"
    taken = f"{len(item.taken)} already annotated are shown; choose others." if item.taken else ""
    return f"Choose {objects}: a box or a point on each, and a name.", taken


def _annotate(ticket: Ticket) -> tuple[str, ...]:
    item, view = ticket.item, ticket.view
    window = ""
    if view.windows > 1:
        window = (
            f"Part {view.window + 1} of {view.windows} of this video "
            f"(frames {view.frames[0]} to {view.frames[-1]})."
        )
    carried = ""
    if ticket.carried:
        carried = f"The first {len(ticket.carried)} frames come from the part before and are done."
    return f"Object: {_name(item)}.", _TO_DO[item.phase], _found_wrong(ticket), window, carried


def _verify(ticket: Ticket) -> tuple[str, ...]:
    item = ticket.item
    made = "found by the model" if item.revision == 0 else f"version {item.revision}"
    return (
        f"Object: {_name(item)} ({made}).",
        "Watch it through: does the outline follow one object, in all frames? Mark the frames that are wrong.",
    )


def _found_wrong(ticket: Ticket) -> str:
    """What a verifier said of the revision before, with frames as source frames and as pages."""
    item = ticket.item
    if item.revision < 2 and item.bad_range is None:
        return ""
    reason = f': "{item.reason}"' if item.reason else ""
    if item.bad_range is None:
        return f"A verifier was not satisfied{reason}."
    first, last = item.bad_range
    pages = [page + 1 for page, frame in enumerate(ticket.view.frames) if first <= frame <= last]
    where = f", pages {pages[0]} to {pages[-1]}" if pages else ""
    return f"A verifier found frames {first} to {last} bad{where}{reason}. Mend those; the others stay as they are."


def _again(ticket: Ticket) -> str:
    return "It is asked again, since who answered first had made the masks." if ticket.attempt > 1 else ""


def _name(item: WorkItem) -> str:
    return item.name or "object"


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
