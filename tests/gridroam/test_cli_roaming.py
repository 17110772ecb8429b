"""The hub's operator sees who roams with whom, and brings an operator's offers in, by hand."""

from __future__ import annotations

import json
from pathlib import Path

from tests.gridroam.processes import Done, gridroam
from tests.marketplace.fakes import ROAMING_TERMS


async def test_offers_come_out_of_a_file_and_the_matrix_is_drawn(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam(*arguments, *place, tmp_path=tmp_path)

    for party, role in (("FR*PD1", "evse-operator"), ("DE*EVL", "evsp"), ("NL*TNM", "evsp")):
        added = await run("partner", "add", party, "--role", role, "--name", party)
        assert added.code == 0, added.err
    file = tmp_path / "offers.json"
    to_all = {"terms": ROAMING_TERMS, "audience": {"kind": "roles", "roles": ["evsp"]}}
    own = {
        "terms": ROAMING_TERMS | {"vat_percent": 19},
        "audience": {"kind": "parties", "parties": ["DE*EVL"]},
    }
    file.write_text(json.dumps([to_all, own]))
    made = await run("roaming", "offer", str(file), "--operator", "FR*PD1")
    assert made.code == 0, made.err
    offers = [json.loads(line) for line in made.out.splitlines()]
    assert [one["audience"] for one in offers] == [["evsp"], ["DE*EVL"]]

    drawn = (await run("roaming", "matrix")).out
    assert "FR*PD1" in drawn
    assert drawn.count("○") == 3, drawn
    assert "offered, not accepted: 2" in drawn
    told = (await run("roaming", "matrix", "--evsp", "DE*EVL", "--csv")).out.splitlines()
    assert len(told) == 2
    assert told[1].startswith("FR*PD1,DE*EVL,offered,")

    wrong = own | {"terms": ROAMING_TERMS | {"vat_percent": 119}}
    for content, says in (
        (json.dumps([to_all, wrong]), "offering 2 of 2: terms.vat_percent"),
        (json.dumps([to_all, own | {"audiense": {}}]), "offering 2: "),
        (json.dumps([to_all, 7]), "offering 2: no object"),
        ("{}", "no list of offerings"),
        ("[", "is not JSON"),
    ):
        file.write_text(content)
        refused = await run("roaming", "offer", str(file), "--operator", "FR*PD1")
        assert refused.code == 2, refused
        assert says in refused.err
