"""Writes the tables of commands, options and settings into the pages, from the code that defines them.

`python docs/generate.py` rewrites what stands between `<!-- generated: NAME -->` and `<!-- end -->`; a test
fails while a page is not what this file would write.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from engine.cli.app import app
from engine.settings import Settings

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite every page that has a generated block."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        written = rewritten(text)
        if written != text:
            page.write_text(written, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")


def pages() -> list[Path]:
    """README and all pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def rewritten(text: str) -> str:
    """The page's text with every generated block made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{GENERATORS[found[2]]()}\n{found[3]}", text)


def walk_commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name, `engine model info`, in the order of the code."""
    yield from _walk("engine", typer.main.get_command(app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child_name, child in children.items():
        yield from _walk(f"{name} {child_name}", child)


def commands_table() -> str:
    """A row per command: how it is called, and the first sentence of its help."""
    rows = ["| command | does |", "|---|---|"]
    for name, command in walk_commands():
        summary = re.split(r"(?<=\.)\s", _plain(command.help))[0]
        called = " ".join([name, *_arguments(command)]).replace("|", r"\|")
        rows.append(f"| `{called}` | {summary} |")
    return "\n".join(rows)


def options_lists() -> str:
    """A paragraph and a list of options per command."""
    return "\n\n".join(_options_of(name, command) for name, command in walk_commands())


def _options_of(name: str, command: Any) -> str:
    lines = [f"**`{' '.join([name, *_arguments(command)])}`**: {_plain(command.help)}"]
    options = [param for param in command.params if param.opts[0].startswith("-") and param.name != "help"]
    for param in [param for param in command.params if param not in options] + options:
        if param.name != "help" and param.help:
            lines.append(f"- `{_spelled(param)}`: {_plain(param.help)}{_default(param)}")
    return "\n".join([lines[0], "", *lines[1:]] if len(lines) > 1 else lines)


def _arguments(command: Any) -> list[str]:
    arguments = [param for param in command.params if not param.opts[0].startswith("-")]
    return [_spelled(param) if param.required else f"[{_spelled(param)}]" for param in arguments]


def _spelled(param: Any) -> str:
    value = param.metavar or param.name.upper().replace("_", "-")
    if not param.opts[0].startswith("-"):
        return value + ("…" if param.nargs == -1 else "")
    names = "/".join([*param.opts, *param.secondary_opts])
    return names if param.is_flag else f"{names} {value}"


def _default(param: Any) -> str:
    shown = getattr(param, "is_flag", False) or param.default in (None, "") or "Default:" in param.help
    return "" if shown else f" [default: {param.default}]"


def settings_tables() -> str:
    """Per section of `engine.toml` a heading, what it is about, and a table of keys with defaults."""
    return "\n\n".join(_section(name, field.annotation) for name, field in Settings.model_fields.items())


def _section(name: str, kind: Any) -> str:
    defaults = Settings().model_dump(mode="json")[name]
    documented = dict(_documented(kind))
    rows = [f"### `[{name}]`", "", _about(kind, keys=list(defaults)), ""]
    rows += (
        ["| key | default | meaning |", "|---|---|---|"] if documented else ["| key | default |", "|---|---|"]
    )
    for key, default in defaults.items():
        meaning = f" {documented.get(key, '')} |" if documented else ""
        rows.append(f"| `{key}` | `{json.dumps(default)}` |{meaning}".replace("<", "&lt;"))
    return "\n".join(rows)


def _documented(kind: Any) -> Iterator[tuple[str, str]]:
    """Key and meaning: pydantic descriptions, or the strings below a dataclass's fields."""
    if not dataclasses.is_dataclass(kind):
        yield from ((key, _plain(field.description)) for key, field in kind.model_fields.items())
        return
    fields = r"^    (\w+): .*\n    \"\"\"((?:.|\n)*?)\"\"\""
    for found in re.finditer(fields, inspect.getsource(kind), re.MULTILINE):
        yield found[1], _plain(found[2])


def _about(kind: Any, *, keys: list[str]) -> str:
    """The docstring's paragraphs, unwrapped, with the names of settings set as code."""
    paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    names = "|".join(key if "_" in key else f"{key}(?=:)" for key in keys)
    named = re.compile(rf"(?<![`\w])({names})(?![`\w])")
    return "\n\n".join(named.sub(r"`\1`", _plain(paragraph)) for paragraph in paragraphs)


def _plain(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip()


GENERATORS: dict[str, Callable[[], str]] = {
    "commands": commands_table,
    "options": options_lists,
    "settings": settings_tables,
}


if __name__ == "__main__":
    main()
