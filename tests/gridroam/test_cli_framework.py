"""The hub's operator looks after the contract framework on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marketplace.framework.library import FOLDER
from tests.gridroam.processes import Done, gridroam


async def test_modules_are_listed_shown_checked_and_published(
    hub_database_url: str, tmp_path: Path
) -> None:
    place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)

    async def run(*arguments: str) -> Done:
        return await gridroam("framework", *arguments, tmp_path=tmp_path)

    async def told(*arguments: str) -> Any:
        done = await run(*arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)

    listed = [json.loads(line) for line in (await run("list", "--json", *place)).out.splitlines()]
    assert {one["name"] for one in listed} == {file.stem for file in FOLDER.glob("*.toml")}
    table = (await run("list", *place)).out
    assert "load-management-conditions" in table

    file = tmp_path / "liability.json"
    shown = await told("show", "liability", *place)
    file.write_text(json.dumps(shown))
    assert (await told("publish", str(file), *place))["version"] == 1
    file.write_text(json.dumps(shown | {"standard": {"cap_months": 24}}))
    assert "for the 24 months before" in (await told("check", str(file)))["text"]
    assert (await told("publish", str(file), *place))["version"] == 2
    assert (await told("show", "liability", "--version", "1", *place)) == shown

    own = tmp_path / "parking.toml"
    own.write_text((FOLDER / "force-majeure.toml").read_text())
    assert (await told("publish", str(own), *place))["name"] == "parking"

    own.write_text("title = ")
    for arguments, says in (
        (("show", "no-such", *place), "no such module"),
        (("check", str(own)), "cannot be read"),
        (("check", str(tmp_path / "none.json")), "cannot read"),
        (("check", str(FOLDER / "price.toml"), "--nonsense"), "nonsense"),
    ):
        refused = await run(*arguments)
        assert refused.code == 2, refused
        assert says in refused.err
