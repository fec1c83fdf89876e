"""What the pages say is so: commands exist with those options, links lead somewhere, tables are current."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from engine.cli.app import app
from engine.settings import known_keys

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_0-9]+=\S+ )*(?:\.venv/bin/)?(engine .*)$")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


def _commands() -> Iterator[tuple[str, str]]:
    """Every `engine …` line of a fenced block, with its page."""
    for page in PAGES:
        for _, block in FENCE.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                if found := COMMAND.match(line):
                    yield page.name, found[1]


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("page", "line"), list(_commands()))
def test_a_documented_command_exists(page: str, line: str):
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    arguments, words = _take_options(command, words)
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"{page}: there is no command {line!r}"
        command = command.commands[words[0]]
        arguments, words = _take_options(command, words[1:])
    room = [param.nargs for param in command.params if not param.opts[0].startswith("-")]
    assert -1 in room or len(arguments) <= len(room), f"{page}: {line!r} has too many arguments"


def _take_options(command: Any, words: list[str]) -> tuple[list[str], list[str]]:
    """Check `words` up to the next command's name: the arguments among them, and what is left."""
    options = {name: param for param in command.params for name in [*param.opts, *param.secondary_opts]}
    arguments: list[str] = []
    given: set[str] = {"help"}
    while words and (words[0].startswith("-") or not hasattr(command, "commands")):
        word, *words = words
        if not word.startswith("-"):
            arguments.append(word)
            continue
        assert word in options or word == "--help", f"{command.name} has no option {word}"
        if word in options:
            given.add(options[word].name)
            words = words if options[word].is_flag else words[1:]
    needed = [param.name for param in options.values() if param.required and param.opts[0].startswith("-")]
    assert set(needed) <= given, f"{command.name} also needs {needed}"
    return arguments, words


def test_generated_tables_are_current():
    generate = _generate()
    stale = [
        page.name for page in generate.pages() if generate.rewritten(page.read_text()) != page.read_text()
    ]
    assert stale == [], "run `make docs`"


def test_every_command_and_setting_is_documented():
    operators = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    commands = {name for name, _ in _generate().walk_commands()}
    assert {name for name in commands if f"`{name}" not in operators} == set()
    missing = [key for key in known_keys() if f"`{key.rpartition('.')[2]}`" not in operators]
    assert missing == []


def test_every_command_and_option_has_help():
    silent = [
        f"{name} {param.opts[0]}"
        for name, command in _generate().walk_commands()
        for param in [*command.params, command]
        if not param.help
    ]
    assert silent == []


def test_help_is_shown_as_it_is_written():
    """Nothing between brackets is taken for markup and lost."""
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "500"}).output
    assert "Default: $ENGINE_HOME, else ./engine-home." in shown
    bracketed = [
        f"{name} {param.opts[0]}"
        for name, command in _generate().walk_commands()
        for param in command.params
        if "[" in (param.help or "")
    ]
    assert bracketed == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in _anchors(file), f"{page.name} links to {target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_make_targets_in_the_pages_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {
        name
        for page in PAGES
        for _, block in FENCE.findall(page.read_text(encoding="utf-8"))
        for name in re.findall(r"^make (\w+)", block, re.MULTILINE)
    }
    assert used <= targets


def test_constraints_are_names_and_versions():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert "torch==2.13.0" in lines


def test_no_path_or_index_of_somebodys_machine():
    """Tracked files name no folder of one machine and no package index."""
    words = (
        "(?<![\\w.~-])/(?:work|farm|root|home/[a-z]+|opt/[a-z]+)/",
        "--(?:extra-)?index-url",
        "--find-" + "links",
    )
    pattern = re.compile("|".join(words).encode())
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout.split(b"\0")
    files = [ROOT / name.decode() for name in listed if name] or pytest.skip("not a git checkout")
    named = [
        f"{file.relative_to(ROOT)}: {found[0].decode()}"
        for file in files
        if file.is_file()
        and file.suffix not in {".safetensors", ".png"}
        and file != Path(__file__)
        and (found := pattern.search(file.read_bytes()))
    ]
    assert named == []
