"""Label Studio's pages as a person uses them: mouse and keys in, what is on the screen out.

A `Person` is one browser with one user signed in. The pages act with mouse and keyboard only, in pixels of the frame,
and never sleep: each act waits until the page, and the model where it is asked, have taken it. What a page holds is
read from its own store (`window.Htx`) and from the canvases it paints the masks with.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Browser, Response, TimeoutError

__all__ = ["AnnotationPage", "Person", "SelectionPage", "VerificationPage"]

BoolMask = npt.NDArray[np.bool_]
Point = tuple[float, float]
Tool = Literal["click", "box", "brush", "eraser"]

PATIENCE_MS = 120_000  # a busy machine is no fault of the page
KEY_MS = 2_000
WINDOW = {"width": 1440, "height": 1000}
TOOLS = {
    "click": ("k", "KeyPointTool-dynamic"),
    "box": ("r", "RectangleTool-dynamic"),
    "brush": ("b", "BitmaskTool"),
    "eraser": ("e", "BitmaskEraserTool"),
}
ONE = "Htx.annotationStore.selected"
IMAGE = f"{ONE}.names.get('frames')"


class Person:
    """One user in a browser of their own; pictures of what they see go to a folder."""

    def __init__(self, browser: Browser, url: str, *, email: str, password: str, pictures: Path) -> None:
        self.email = email
        self.complaints: list[str] = []
        self._url = url.rstrip("/")
        self._pictures = pictures
        self._taken = 0
        self._context = browser.new_context(viewport=WINDOW)
        self._context.set_default_timeout(PATIENCE_MS)
        self.page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self._sign_in(password)

    def _sign_in(self, password: str) -> None:
        self.page.goto(f"{self._url}/user/login/")
        self.page.fill("input[name=email]", self.email)
        self.page.fill("input[name=password]", password)
        self.page.press("input[name=password]", "Enter")
        self.page.wait_for_url(lambda url: "/user/login" not in url)

    def label_all(self, project: int) -> bool:
        """Open a project and press the button that hands out tasks; False: there is none for this person."""
        self.page.goto(f"{self._url}/projects/{project}/data")
        self.page.get_by_text("Label All Tasks").first.click()
        opened = f"window.Htx && Htx.task && {ONE} && !Htx.isLoading"
        self.page.wait_for_function(f"() => window.Htx?.noTask || ({opened})")
        return not self.page.evaluate("() => Htx.noTask")

    def open_submitted(self, project: int, task: int) -> None:
        """Open what this person handed in, to mend it: its row in the list, or its address."""
        self.page.goto(f"{self._url}/projects/{project}/data?task={task}")
        self.page.wait_for_function(f"task => window.Htx?.task?.id === task && {ONE}?.pk", arg=task)

    @property
    def task(self) -> int:
        """Number of the open task."""
        return int(self.page.evaluate("() => Htx.task.id"))

    def picture(self, name: str) -> Path:
        """Keep what the person sees."""
        self._taken += 1
        path = self._pictures / f"{self.email.split('@')[0]}-{self._taken:02d}-{name}.png"
        self.page.screenshot(path=path)
        return path

    def close(self) -> None:
        """Close the browser."""
        self._context.close()


class LabelingPage:
    """What the labeling pages share: leaving fields, saving, handing in."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.page = person.page

    def results(self) -> list[dict[str, Any]]:
        """What would be handed in now."""
        return list(self.page.evaluate(f"() => {ONE}.serializeAnnotation()"))

    def leave_fields(self) -> None:
        """Click beside everything, so that keys are heard again."""
        self.page.evaluate("() => document.activeElement?.blur()")

    def wait_for(self, condition: str, argument: Any = None) -> Any:
        """Wait until a condition in JavaScript, an arrow function, holds; returns its value.

        The condition may be asynchronous; Playwright's own wait takes the promise of one for its value.
        """
        return self.page.evaluate(
            f"""async ([argument, patience]) => {{
                const condition = {condition};
                for (const end = Date.now() + patience; Date.now() < end;) {{
                    const value = await condition(argument);
                    if (value) return value;
                    await new Promise(done => setTimeout(done, 50));
                }}
                throw new Error('waited in vain for ' + condition);
            }}""",
            [argument, PATIENCE_MS],
        )

    def wait_until_saved(self) -> None:
        """Wait for the draft that holds the last act; Label Studio saves within five seconds."""
        self.wait_for(
            f"() => {ONE}.draftSaved && !{ONE}.isDraftSaving"
            f" && new Date({ONE}.draftSaved) >= new Date({ONE}.history.lastAdditionTime ?? 0)"
        )

    def submit(self) -> dict[str, Any]:
        """Hand in, or hand in again; returns the annotation as Label Studio keeps it."""
        self.leave_fields()
        with self.page.expect_response(_saves_annotation) as caught:
            self.page.keyboard.press("Control+Enter")
        response = caught.value
        assert response.ok, response.text()
        return dict(response.json())

    def skip(self) -> dict[str, Any]:
        """Press Skip."""
        with self.page.expect_response(_saves_annotation) as caught:
            self.page.get_by_test_id("bottombar-skip-button").click()
        return dict(caught.value.json())

    def _wait_for_frames(self) -> None:
        """Wait until the first frame is there and stands still."""
        self.wait_for(
            f"""async () => {{
                const image = window.Htx && {ONE} && {IMAGE};
                if (!image?.currentImageEntity?.imageLoaded || !image.stageRef || Htx.isLoading) return false;
                const place = () => JSON.stringify([image.stageRef.content.getBoundingClientRect(), image.stageWidth]);
                const before = place();
                await new Promise(done => setTimeout(done, 200));
                return place() === before;
            }}"""
        )

    def _press_at(self, x: float, y: float) -> None:
        left, top = self._on_screen(x, y)
        self.page.mouse.move(left, top)
        self.page.mouse.click(left, top)

    def _drag(self, points: Sequence[Point]) -> None:
        (left, top), *others = [self._on_screen(x, y) for x, y in points]
        self.page.mouse.move(left, top)
        self.page.mouse.down()
        for left, top in others:
            self.page.mouse.move(left, top, steps=4)
        self.page.mouse.up()

    def _on_screen(self, x: float, y: float) -> Point:
        """Where a point of the frame is on the screen, to the screen pixel: what a mouse can hit."""
        left, top = self.page.evaluate(
            f"""async ([x, y]) => {{
                const frame = () => new Promise(requestAnimationFrame);
                const place = () => {{
                    const image = {IMAGE}, corner = image.stageRef.content.getBoundingClientRect();
                    const [left, top] = image.zoomOriginalCoords(
                        [x / image.naturalWidth * image.stageWidth, y / image.naturalHeight * image.stageHeight]);
                    return [Math.round(corner.left + left), Math.round(corner.top + top)];
                }};
                let before = place();
                for (;;) {{  // until nothing on the page moves any more
                    await frame();
                    await frame();
                    const now = place();
                    if (now[0] === before[0] && now[1] === before[1]) return now;
                    before = now;
                }}
            }}""",
            [x, y],
        )
        return float(left), float(top)


class AnnotationPage(LabelingPage):
    """The frames of one masklet. x and y are pixels of the frame as shown, from its upper left corner."""

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self._wait_for_frames()
        self.painted()

    def switch_on_assistance(self) -> None:
        """Switch on both toggles at the bottom, as a new annotator does once per browser."""
        for name in ("auto-annotation", "auto-accept"):
            toggle = self.page.get_by_test_id(f"bottombar-{name}-toggle")
            toggle.wait_for(state="attached")
            if not toggle.is_checked():
                toggle.locator("xpath=..").click()
        self.leave_fields()

    def __len__(self) -> int:
        return int(self.page.evaluate(f"() => {IMAGE}.parsedValueList.length"))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames as shown."""
        height, width = self.page.evaluate(f"() => [{IMAGE}.naturalHeight, {IMAGE}.naturalWidth]")
        return int(height), int(width)

    @property
    def number(self) -> int:
        """The page that is open, from 0."""
        return int(self.page.evaluate(f"() => {IMAGE}.currentImage"))

    @property
    def says(self) -> str:
        """What the model server says to the person on the open page."""
        return "\n".join(text for page, text in self._texts("says") if page == self.number)

    def turn_to(self, number: int) -> None:
        """Turn pages with Ctrl+arrow until `number` is open and painted."""
        self.leave_fields()
        while (here := self.number) != number:
            self.page.keyboard.press("Control+ArrowRight" if here < number else "Control+ArrowLeft")
            with suppress(TimeoutError):  # a key that was not heard is pressed again
                self.page.wait_for_function(
                    f"here => {IMAGE}.currentImage !== here", arg=here, timeout=KEY_MS
                )
        self.wait_for(f"() => {IMAGE}.currentImageEntity.imageLoaded")
        self.painted()

    def click(self, x: float, y: float, *, positive: bool = True) -> Point:
        """Click, or Alt+click; returns the point that was sent. A first click selects a mask that is in the way."""
        self.take("click")
        self._select_what_covers(x, y)
        if not positive:
            self.page.keyboard.down("Alt")
        sent = self._prompt(lambda: self._press_at(x, y))
        if not positive:
            self.page.keyboard.up("Alt")
        value, shown = sent["value"], self.size
        return value["x"] / 100 * shown[1], value["y"] / 100 * shown[0]

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        """Drag a box; returns it as it was sent."""
        self.take("box")
        self._select_what_covers(x0, y0)
        sent = self._prompt(lambda: self._drag([(x0, y0), ((x0 + x1) / 2, (y0 + y1) / 2), (x1, y1)]))
        value, (height, width) = sent["value"], self.size
        left, top = value["x"] / 100 * width, value["y"] / 100 * height
        return left, top, left + value["width"] / 100 * width, top + value["height"] / 100 * height

    def command(self, text: str) -> str:
        """Type a command and Enter, wait for its answer; returns what the server says."""
        field = self.page.locator("input[name=cmd]")
        field.fill(text)
        self._prompt(lambda: field.press("Enter"))
        self.leave_fields()
        return self.says

    def brush(self, stroke: Sequence[Point]) -> None:
        """One stroke with the brush, on the mask of the page or a new one."""
        self._stroke("brush", stroke)

    def erase(self, stroke: Sequence[Point]) -> None:
        """One stroke with the eraser on the mask of the page."""
        self._stroke("eraser", stroke)

    def set_brush_size(self, tool: Literal["brush", "eraser"], *, smaller: int) -> None:
        """Press [ so many times."""
        self.take(tool)
        for _ in range(smaller):
            self.page.keyboard.press("[")

    def mark(self, visibility: Literal["absent", "occluded"]) -> None:
        """Press the key of `absent` or `occluded` on the open page."""
        self.leave_fields()
        self.page.keyboard.press({"absent": "x", "occluded": "c"}[visibility])
        here = self.number
        self.wait_for(
            f"([mark, page]) => {ONE}.serializeAnnotation().some(result => result.from_name === 'visibility'"
            " && (result.item_index ?? 0) === page && result.value.choices.includes(mark))",
            [visibility, here],
        )

    def marked(self, visibility: Literal["absent", "occluded"]) -> set[int]:
        """Pages that bear this mark."""
        return {
            int(result.get("item_index", 0))
            for result in self.results()
            if result["from_name"] == "visibility" and visibility in result["value"]["choices"]
        }

    def undo(self) -> None:
        """Ctrl+Z once."""
        self.leave_fields()
        before = self.page.evaluate(f"() => {ONE}.history.undoIdx")
        self.page.keyboard.press("Control+z")
        self.wait_for(f"before => {ONE}.history.undoIdx < before", before)
        self.painted()

    def masks(self) -> dict[int, BoolMask]:
        """The masks of all pages as somebody who turns to them will see them: the union of a page's regions.

        Not what would be handed in: that has old masks where nobody turned to a page.
        """
        pictures = self.page.evaluate(
            f"() => {ONE}.regions.filter(region => region.type === 'bitmaskregion' && region.imageDataURL)"
            ".map(region => [region.item_index ?? 0, region.imageDataURL])"
        )
        found: dict[int, BoolMask] = {}
        for page, url in pictures:
            mask = _decode(url)
            found[page] = found[page] | mask if page in found else mask
        return found

    def painted(self) -> BoolMask:
        """The pixels that the open page shows as mask, read from its canvases once they hold what its store says."""
        packed = self.wait_for(
            f"""async () => {{
                const image = {IMAGE};
                if (!image?.currentImageEntity?.imageLoaded || Htx.awaitingSuggestions) return null;
                const regions = image.regs.filter(region => region.type === 'bitmaskregion');
                const pictures = await Promise.all(regions.map(async region => {{
                    if (!region.imageDataURL) return null;
                    const picture = new window.Image();
                    picture.src = region.imageDataURL;
                    await picture.decode();
                    return picture;
                }}));
                const width = image.naturalWidth, height = image.naturalHeight;
                const read = canvas => canvas.getContext('2d').getImageData(0, 0, width, height).data;
                const bits = new Uint8Array(width * height);
                for (const [index, region] of regions.entries()) {{
                    if (!region.offscreenCanvasRef) return null;
                    const shown = read(region.offscreenCanvasRef);
                    if (pictures[index]) {{
                        const canvas = new OffscreenCanvas(width, height);
                        canvas.getContext('2d').drawImage(pictures[index], 0, 0);
                        const wanted = read(canvas);
                        for (let i = 3; i < wanted.length; i += 4)
                            if ((wanted[i] > 127) !== (shown[i] > 127)) return null;
                    }}
                    if (region.hidden) continue;
                    for (let i = 0; i < bits.length; i++) if (shown[4 * i + 3] > 127) bits[i] = 1;
                }}
                let text = '';
                for (let i = 0; i < bits.length; i += 8192)
                    text += String.fromCharCode(...bits.subarray(i, i + 8192));
                return btoa(text);
            }}"""
        )
        return np.frombuffer(base64.b64decode(packed), np.uint8).reshape(self.size).astype(np.bool_)

    def check_painted(self, expected: BoolMask) -> None:
        """The open page shows exactly this mask."""
        painted = self.painted()
        different = int((painted ^ expected).sum())
        assert different == 0, (
            f"page {self.number + 1} paints {int(painted.sum())} pixels where {int(expected.sum())} are expected; "
            f"{different} differ"
        )

    def take(self, tool: Tool) -> None:
        """Choose a tool by its key."""
        key, name = TOOLS[tool]
        self.leave_fields()
        while self._tool() != name:  # keys are deaf for a moment while the toolbar is drawn anew
            self.page.keyboard.press(key)
            self.page.evaluate("() => new Promise(done => setTimeout(done, 50))")

    def _tool(self) -> str | None:
        name = self.page.evaluate(f"() => {IMAGE}.getToolsManager().findSelectedTool()?.fullName")
        return None if name is None else str(name)

    def _stroke(self, tool: Tool, stroke: Sequence[Point]) -> None:
        self.take(tool)
        self._select_mask_of_page()
        before = self._revision()
        self._drag(stroke)
        self.wait_for(
            f"before => JSON.stringify({ONE}.serializeAnnotation()) !== before && !{ONE}.isDrawing", before
        )
        self.painted()

    def _revision(self) -> str:
        return str(self.page.evaluate(f"() => JSON.stringify({ONE}.serializeAnnotation())"))

    def _select_mask_of_page(self) -> None:
        """Select the page's mask by a click on it; without one, select the label for a new mask."""
        if self._selected():
            return
        if self.page.evaluate(f"() => {ONE}.selectedRegions.length > 0"):
            self.page.keyboard.press("u")  # a mask of another page
            self.wait_for(f"() => {ONE}.selectedRegions.length === 0")
        inside = np.argwhere(self.painted())
        if len(inside):
            y, x = inside[len(inside) // 2]
            self._press_at(float(x) + 0.5, float(y) + 0.5)
            self.wait_for(f"() => {ONE}.selectedRegions.length > 0")
        elif not self.page.evaluate(f"() => {ONE}.names.get('mask').isSelected"):
            self.page.keyboard.press("1")
            self.wait_for(f"() => {ONE}.names.get('mask').isSelected")

    def _selected(self) -> bool:
        """Whether a mask of the open page is selected."""
        return bool(
            self.page.evaluate(
                f"() => {ONE}.selectedRegions.some(region => region.item_index === {IMAGE}.currentImage)"
            )
        )

    def _select_what_covers(self, x: float, y: float) -> None:
        """A prompt that begins on a mask reaches the model only when that mask is selected: click on it first."""
        if self.painted()[int(y), int(x)] and not self._selected():
            self._press_at(x, y)
            self.wait_for(f"() => {ONE}.selectedRegions.length > 0")

    def _prompt(self, act: Any) -> dict[str, Any]:
        """Do something that asks the model, and wait until its answer is painted; returns the prompt as it was sent."""
        with self.page.expect_response(_answers_prompt) as caught:
            act()
        response = caught.value
        assert response.ok, response.text()
        self.painted()
        sent = json.loads(response.request.post_data or "{}")
        return dict(sent["context"]["result"][0])  # with a label selected, a click comes twice

    def _texts(self, control: str) -> list[tuple[int, str]]:
        return [
            (int(result.get("item_index", 0)), text)
            for result in self.results()
            if result["from_name"] == control and "text" in result["value"]
            for text in result["value"]["text"]
        ]


class SelectionPage(LabelingPage):
    """A frame in which objects are chosen: boxes and points with a name each."""

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self._wait_for_frames()

    def box(self, x0: float, y0: float, x1: float, y1: float, *, name: str = "") -> None:
        """Draw a box around an object; a click on it brings the field for its name."""
        self._choose_label("object", "1")
        self._draw([(x0, y0), ((x0 + x1) / 2, (y0 + y1) / 2), (x1, y1)])
        if name:
            self._press_at((x0 + x1) / 2, (y0 + y1) / 2)
            field = self.page.locator("input[name=name]:visible")
            field.fill(name)
            field.press("Enter")
            self.wait_for(f"name => JSON.stringify({ONE}.serializeAnnotation()).includes(name)", name)

    def remove(self, x: float, y: float) -> None:
        """Click on a box and press Backspace."""
        self.leave_fields()
        before = len(self.results())
        self._press_at(x, y)
        self.wait_for(f"() => {ONE}.selectedRegions.length > 0")
        self.leave_fields()
        self.page.keyboard.press("Backspace")
        self.wait_for(f"before => {ONE}.serializeAnnotation().length < before", before)

    def point(self, x: float, y: float) -> None:
        """Put a point on an object; Ctrl lets the click through to the frame under a box."""
        self._choose_label("point", "2")
        self.page.keyboard.down("Control")
        self._draw([(x, y)])
        self.page.keyboard.up("Control")

    def _choose_label(self, control: str, key: str) -> None:
        self.leave_fields()
        self.page.keyboard.press("u")
        if not self.page.evaluate(f"name => {ONE}.names.get(name).isSelected", control):
            self.page.keyboard.press(key)
        self.wait_for(f"name => {ONE}.names.get(name).isSelected", control)

    def _draw(self, points: Sequence[Point]) -> None:
        before = len(self.results())
        self._drag(points)
        self.wait_for(f"before => {ONE}.serializeAnnotation().length > before && !{ONE}.isDrawing", before)


class VerificationPage(LabelingPage):
    """The overlay video of one masklet, the timeline under it and the verdict."""

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self.wait_for(f"() => window.Htx && {ONE} && {ONE}.names.get('video')?.length > 1")

    def __len__(self) -> int:
        return int(self.page.evaluate(f"() => {ONE}.names.get('video').length"))

    def mark(self, first: int, last: int, *, missed: bool = False) -> None:
        """Mark the frames `first` to `last`, from 1, both inclusive, by dragging in the lowest row of the timeline."""
        self.leave_fields()
        self.page.keyboard.press("u")
        self.page.keyboard.press("m" if missed else "b")
        self.wait_for(f"() => {ONE}.names.get('bad').isSelected")
        frames = self.page.locator(".lsf-timeline-frames__background").bounding_box()
        assert frames
        step = self.page.locator(".lsf-timeline-frames__indicator").bounding_box()["width"]
        y = frames["y"] + frames["height"] - 6
        before = len(self.ranges())
        self.page.mouse.move(frames["x"] + step * (first - 0.5), y)
        self.page.mouse.down()
        self.page.mouse.move(frames["x"] + step * (last - 0.5), y, steps=6)
        self.page.mouse.up()
        self.wait_for(
            f"count => {ONE}.serializeAnnotation().filter(one => one.type === 'timelinelabels').length > count",
            before,
        )

    def ranges(self) -> list[tuple[int, int]]:
        """The marked ranges, from 1, both inclusive."""
        return [
            (span["start"], span["end"])
            for result in self.results()
            if result["type"] == "timelinelabels"
            for span in result["value"]["ranges"]
        ]

    def judge(self, verdict: Literal["satisfactory", "unsatisfactory", "reject"]) -> None:
        """Press the verdict's key."""
        self.leave_fields()
        self.page.keyboard.press({"satisfactory": "1", "unsatisfactory": "2", "reject": "3"}[verdict])
        self.wait_for(
            f"verdict => {ONE}.serializeAnnotation().some(one => one.from_name === 'verdict'"
            " && one.value.choices.includes(verdict))",
            verdict,
        )


def _saves_annotation(response: Response) -> bool:
    return "/annotations" in response.url and response.request.method in ("POST", "PATCH")


def _answers_prompt(response: Response) -> bool:
    """Whether a response answers a prompt; the page also asks with nothing after a prompt is taken away."""
    if "/interactive-annotating" not in response.url:
        return False
    sent = json.loads(response.request.post_data or "{}")
    return bool(sent.get("context", {}).get("result"))


def _decode(url: str) -> BoolMask:
    picture = Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1])))
    alpha: BoolMask = np.asarray(picture.convert("RGBA").getchannel("A")) > 127
    return alpha
