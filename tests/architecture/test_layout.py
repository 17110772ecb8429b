"""The house keeps its shape: tests mirror code, flow maps name real functions, files have names."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"`([\w/]+)\.py::(\w+)`")
STORY = re.compile(r"`(tests/[\w/]+\.py)`")
HOUSE = [
    "roaming",
    "kit",
    "bridge",
    "documents",
    "marketplace",
    "clearinghouse",
    "search_evse",
    "gateway",
    "central_system",
    "console",
    "gridroam",
    "bench",
]
FREE = {
    "architecture",
    "browser",
    "conformance",
    "examples",
    "faults",
    "flows",
    "independent",
    "laws",
    "outside",
}
NAMELESS = {"utils", "helpers", "common", "misc", "base", "manager", "crud", "schemas"}


def mirrored_tests() -> list[Path]:
    found = (ROOT / "tests").rglob("test_*.py")
    return [path for path in found if path.relative_to(ROOT / "tests").parts[0] not in FREE]


def flow_pages() -> list[Path]:
    return sorted((ROOT / "docs/flows").glob("*.md"))


def flow_steps() -> list[tuple[str, str]]:
    return [step for page in flow_pages() for step in STEP.findall(page.read_text())]


def test_no_file_is_named_after_nothing() -> None:
    files = (path for package in HOUSE for path in (ROOT / package).rglob("*.py"))
    assert [path for path in files if path.stem in NAMELESS] == []


@pytest.mark.parametrize("path", mirrored_tests(), ids=str)
def test_every_test_file_stands_beside_the_file_it_tests(path: Path) -> None:
    place = path.relative_to(ROOT / "tests")
    assert (ROOT / place.with_name(place.name.removeprefix("test_"))).exists()


@pytest.mark.parametrize(("module", "name"), flow_steps())
def test_every_step_of_a_flow_map_exists(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module.replace("/", ".")), name)


@pytest.mark.parametrize("page", flow_pages(), ids=lambda page: page.stem)
def test_every_flow_map_names_its_steps_and_the_story_that_plays_it(page: Path) -> None:
    text = page.read_text()
    assert len(STEP.findall(text)) >= 5
    stories = STORY.findall(text)
    assert stories
    assert all((ROOT / story).exists() for story in stories)


@pytest.mark.parametrize("package", HOUSE)
def test_every_package_says_what_it_is_for(package: str) -> None:
    assert (ROOT / package / "README.md").exists()
