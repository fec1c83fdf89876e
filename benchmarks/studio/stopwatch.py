"""A stopwatch inside the page: from the press of the mouse, or of Enter, to the frame that shows the new masks.

It reads the page's own clock and store. A mask is there when its region has another picture, and has unpacked and drawn
it; the time is that of the second frame painted after that. What went over the network in between is told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

__all__ = ["Wait", "start_watch", "take_wait"]

PATIENCE_MS = 120_000

_WATCH = """([page, patience]) => {
  const DRAWN_LATEST = 500, QUIET = 1000, UNCHANGED = 3000;  // ms
  const masks = () => window.Htx.annotationStore.selected.regions.filter(
    (region) => region.type === "bitmaskregion" && (page === null || region.item_index === page));
  const key = (region) => region.item_index + " " + (region.cleanId ?? region.id);
  const before = new Map(masks().map((region) => [key(region), {picture: region.imageDataURL, box: region.bbox}]));
  const seen = {}, arrived = new Map(), drawn = new Map();

  const press = (event) => {
    const counts = event.type === "mousedown" || event.key === "Enter";
    if (counts && seen.asked === undefined) seen.pressed = event.timeStamp;
  };
  document.addEventListener("mousedown", press, {capture: true});
  document.addEventListener("keydown", press, {capture: true});
  const network = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (!entry.name.includes("interactive-annotating")) continue;
      seen.asked ??= entry.startTime;
      seen.answered ??= entry.responseEnd;
    }
  });
  performance.clearResourceTimings();  // a full buffer is told nothing more
  network.observe({type: "resource"});

  const lookAt = (region, now) => {
    const old = before.get(key(region)) ?? {};
    if (!region.imageDataURL || region.imageDataURL === old.picture || drawn.has(key(region))) return;
    if (!arrived.has(key(region))) arrived.set(key(region), now);
    const since = arrived.get(key(region));
    if (region.bbox && region.bbox !== old.box) drawn.set(key(region), [region.item_index, now]);
    // an empty mask has no box
    else if (now - since > DRAWN_LATEST) drawn.set(key(region), [region.item_index, since]);
  };
  const verdict = (now) => {
    if (now - (seen.pressed ?? now) > patience) return "silent";
    if (seen.answered === undefined) return null;
    const last = Math.max(seen.answered, ...[...drawn.values()].map(([, when]) => when));
    if (drawn.size && drawn.size === arrived.size && (page !== null || now - last > QUIET)) return "drawn";
    return now - last > UNCHANGED ? "unchanged" : null;
  };
  window.engineStopwatch = new Promise((done) => {
    const finish = (how, painted) => {
      network.disconnect();
      document.removeEventListener("mousedown", press, {capture: true});
      document.removeEventListener("keydown", press, {capture: true});
      done({...seen, how, painted, pages: [...new Set([...drawn.values()].map(([number]) => number))]});
    };
    const look = () => {
      const now = performance.now();
      for (const region of masks()) lookAt(region, now);
      const how = verdict(now);
      if (how === null) requestAnimationFrame(look);
      else if (how !== "drawn") finish(how, null);
      else if (page === null) finish(how, Math.max(...[...drawn.values()].map(([, when]) => when)));
      else requestAnimationFrame(() => requestAnimationFrame(() => finish(how, performance.now())));
    };
    requestAnimationFrame(look);
  });
}"""


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait, in seconds. painted_s is None when the answer changed no mask; `pages`: whose masks changed."""

    asked_s: float  # from the press to the request
    network_s: float  # from the request to the last byte of the answer
    painted_s: float | None  # from the press to the frame with the masks
    pages: tuple[int, ...]

    @classmethod
    def from_page(cls, seen: dict[str, Any]) -> Wait:
        """From what the page's stopwatch tells, in milliseconds. TimeoutError when nothing was answered."""
        if seen["how"] == "silent" or "pressed" not in seen:
            raise TimeoutError(f"the page asked for nothing or got no answer: {seen}")
        pressed, painted = seen["pressed"], seen["painted"]
        return cls(
            asked_s=(seen["asked"] - pressed) / 1000,
            network_s=(seen["answered"] - seen["asked"]) / 1000,
            painted_s=None if painted is None else (painted - pressed) / 1000,
            pages=tuple(sorted(seen["pages"])),
        )


def start_watch(page: Page, number: int | None) -> None:
    """Begin to watch page `number` of the task, or with None all pages; then do what is to be timed."""
    page.evaluate(_WATCH, [number, PATIENCE_MS])


def take_wait(page: Page) -> Wait:
    """What the stopwatch saw, as soon as it has seen all. TimeoutError when no answer came."""
    return Wait.from_page(page.evaluate("() => window.engineStopwatch"))
