"""The commands of a hub's operator: beside a running hub, without one, and with wrong input."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gridroam import cli
from tests.gridroam.processes import Done, gridroam, postmaster_of, serving, started

DATA = Path(__file__).parents[1] / "search_evse" / "data"
OCPI = DATA / "nl_ndw_ocpi_locations.jsonl"
IRVE = DATA / "fr_irve_statique.csv"
PAPER = {
    "legal_name": "Point du Jour SAS",
    "street": "1 rue de la République",
    "postal_code": "69001",
    "country": "FR",
    "vat_id": "FR40303265045",
}
NOBODY = "postgresql://hub:sekret@127.0.0.1:1/gridroam"


def lines_of(done: Done) -> list[Any]:
    """The output of a command that did its work: JSON, line by line."""
    assert done.code == 0, done.err
    assert done.err == ""
    return [json.loads(line) for line in done.out.splitlines()]


async def test_partners_files_clearing_and_events_beside_a_running_hub(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def command(*arguments: str | Path) -> list[Any]:
        return lines_of(await gridroam(*arguments, "--home", home, tmp_path=tmp_path))

    async with serving("--home", home, tmp_path=tmp_path) as hub:
        server = postmaster_of(home)
        (added,) = await command(
            *("partner", "add", "fr-pd1", "--role", "evse-operator", "--role", "evsp"),
            *("--name", "Point du Jour"),
        )
        assert set(added) == {"party", "client_id", "client_secret"}
        assert added["party"] == "FR*PD1"
        assert [
            (one["party"], one["name"], one["roles"]) for one in await command("partner", "list")
        ] == [("FR*PD1", "Point du Jour", ["evse-operator", "evsp"])]

        paper = tmp_path / "details.json"
        for party, city in (("FR*PD1", "Lyon"), ("EU*GRD", "Brussels")):
            paper.write_text(json.dumps(PAPER | {"city": city}))
            (kept,) = await command("partner", "details", party, "--file", paper)
            assert (kept["party"], kept["city"], kept["country"]) == (party, city, "FR")
            assert await command("partner", "details", party) == [kept]

        (price,) = await command(
            *("fees", "set", "--payer", "evsp", "--valid-from", "2199-01"),
            *("--currency", "EUR", "--per-cdr", "0.015"),
        )
        assert (price["payer"], price["per_cdr"], price["special"]) == ("evsp", "0.015", False)
        assert await command("fees", "list") == [price]

        reference = tmp_path / "eurofxref-hist.csv"
        reference.write_text("Date,USD,JPY,\n2025-01-31,1.0393,161.19,\n2025-01-30,1.0396,x,\n")
        (brought_in,) = await command("rates", "import", reference)
        assert brought_in == {
            "read": 4,
            "created": 3,
            "unchanged": 0,
            "rejected": 1,
            "reasons": {"not a number": 1},
        }
        assert [
            (one["base"], one["quote"], one["rate"], one["at"])
            for one in await command("rates", "show")
        ] == [("EUR", "JPY", "161.19", "2025-01-31"), ("EUR", "USD", "1.0393", "2025-01-31")]

        (imported,) = await command("import", "evses", OCPI)
        assert imported["read"] == 27
        assert imported["read"] == sum(
            imported[name] for name in ("created", "updated", "unchanged", "rejected")
        )
        assert sum(imported["reasons"].values()) == imported["rejected"] > 0
        (again,) = await command("import", "evses", OCPI)
        assert (again["created"], again["updated"]) == (0, 0)
        assert again["unchanged"] == imported["read"] - imported["rejected"]

        (run,) = await command(
            *("clear", "--period", "2025-01", "--time-zone", "Europe/Paris"),
            *("--currency", "EUR", "--strategy", "multilateral"),
        )
        assert run["period"] == {"from": "2024-12-31T23:00:00Z", "to": "2025-01-31T23:00:00Z"}
        assert (run["requested_by"], run["currency"]) == ("EU*GRD", "EUR")
        assert (run["strategy"], run["obligations"], run["payments"]) == ("multilateral", [], [])

        events = await command("events")
        cursors = [event["cursor"] for event in events]
        assert len(set(cursors)) == len(cursors)
        assert events[-1]["type"] == "clearing-run-recorded"
        # Page by page they are the same.
        assert await command("events", "--limit", "3") == events[:3]
        assert await command("events", "--after", cursors[2]) == events[3:]
        ours = await command(
            *("events", "--party", "FR*PD1", "--type", "partner-registered"),
            *("--type", "client-registered"),
        )
        assert [event["type"] for event in ours] == ["partner-registered", "client-registered"]
        assert ours[0]["body"]["roles"] == ["evse-operator", "evsp"]
        assert added["client_secret"] not in json.dumps(events)

        (planned,) = await command("settle", "--period", "2025-01", "--dry-run")
        assert (planned["state"], planned["settlements"]) == ("open", [])
        await command("period", "close", "2025-01")
        (settled,) = await command("settle", "--period", "2025-01")
        assert (settled["state"], settled["settlements"]) == ("settled", [])
        nobody = await gridroam(
            *("default", "FR*PD1", "--period", "2025-01", "--unwind"),
            tmp_path=tmp_path,
            environment={"GRIDROAM_HOME": str(home)},
        )
        assert "FR*PD1 has nothing open of 2025-01" in nobody.err

        # None of them has stopped the server that the hub uses.
        assert postmaster_of(home) == server is not None
        assert (await hub.end()).code == 0


async def test_commands_need_no_running_hub_and_leave_nothing_running(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {"GRIDROAM_HOME": str(home)}
    (imported,) = lines_of(
        await gridroam("import", "evses", IRVE, tmp_path=tmp_path, environment=environment)
    )
    assert imported["read"] == 14
    assert 0 < imported["created"] < 14
    assert postmaster_of(home) is None
    (added,) = lines_of(
        await gridroam(
            *("partner", "add", "BE*XYZ", "--role", "dso", "--name", "Net"),
            tmp_path=tmp_path,
            environment=environment,
        )
    )
    (listed,) = lines_of(
        await gridroam("partner", "list", tmp_path=tmp_path, environment=environment)
    )
    assert (listed["party"], listed["roles"]) == (added["party"], ["dso"])


async def test_a_reader_that_has_seen_enough_is_no_failure(
    tmp_path: Path, hub_database_url: str
) -> None:
    async with started(
        *("events", "--home", tmp_path, "--database-url", hub_database_url),
        errors=tmp_path / "stderr",
    ) as running:
        transport = running.process.stdout._transport  # type: ignore[attr-defined]
        transport.close()
        await asyncio.wait_for(running.process.wait(), 60)
        assert (running.process.returncode, running.err) == (0, "")


WRONG = [
    # Arguments.
    (["nonsense"], r"No such command 'nonsense'\. \(gridroam --help\)"),
    (["partner", "add", "FR*PD1", "--name", "n"], r"Missing option '--role'"),
    (["partner", "add", "--role", "evsp", "--name", "n"], r"Missing argument 'party'"),
    (["partner", "add", "PD1", "--role", "evsp", "--name", "n"], r"party 'PD1': two letters"),
    (["partner", "add", "FR*PD1", "--role", "king", "--name", "n"], r"role: .* 'king' \(evse-op"),
    (["import", "evses", "nowhere.csv"], r"FILE: cannot read nowhere\.csv: No such file"),
    (["import", "evses", IRVE, "--operator", "X"], r"party 'X': two letters"),
    (["clear", "--currency", "EUR", "--strategy", "gross"], r"--period: which period\? \(either"),
    (
        ["clear", "--period", "2025-13", "--currency", "EUR", "--strategy", "gross"],
        r"period: not a month: '2025-13' \(YYYY-MM",
    ),
    (
        ["clear", "--from", "x", "--to", "2025-01-01", "--currency", "EUR", "--strategy", "gross"],
        r"period\.from: not an instant: 'x' \(RFC 3339",
    ),
    (
        ["clear", "--period", "2025-01", "--currency", "EUR", "--strategy", "net"],
        r"--strategy: there is no strategy 'net' \(gross, bilateral, multilateral, cycles\)",
    ),
    (["settle", "--period", "2025-13"], r"period_id: not a month: '2025-13' \(YYYY-MM"),
    (
        ["default", "FR*PD1", "--period", "2025-01"],
        r"Invalid value for --unwind: one of --unwind and",
    ),
    (
        ["default", "FR*PD1", "--period", "2025-01", "--unwind", "--dry-run", "--confirm"],
        r"Invalid value for --confirm: either a dry run or",
    ),
    (
        ["default", "FR*PD1", "--period", "2025-01", "--clearing-vector", "--means", "FR*PD1=1"],
        r"amount '1': a decimal number, a blank and a currency",
    ),
    (["events", "--after", "7"], r"--after: '7' is no cursor"),
    (["events", "--after", f"{1 << 70}-1"], r"--after: '\d+-1' is no cursor"),
    (["events", "--type", "wedding"], r"--type: there are no 'wedding' events \(partner-reg"),
    (["replay", "--evses", "a"], r"Missing option '--customers'"),
    # Where it is to work.
    (["partner", "list", "--database-url", "nonsense"], r"--database-url: this is no URL"),
    (["partner", "list", "--database-url", NOBODY], r"--database-url: no PostgreSQL answers at "),
    (["events", "--home", "/dev/null/home"], r"--home: cannot use /dev/null/home as a home: Not a"),
]

WRONG_HUBS = [
    (["serve", "--port", "x"], r"Invalid value for '--port': .* \(gridroam serve --help\)"),
    (["serve", "--port", "70000"], r"Invalid value for '--port': .*65535"),
    (["serve", "--workers", "0"], r"Invalid value for '--workers': "),
    (["serve", "--log-format", "xml"], r"Invalid value for --log-format: text or json"),
    (["serve", "--what"], r"No such option: --what"),
    (["serve", "--only", "gateway,bakery"], r"--only: there is no part 'bakery' \(gateway, "),
    (["serve", "--only", ","], r"--only: no part is named"),
    (["serve", "--host", "nowhere.invalid"], r"--host: cannot listen on 'nowhere.invalid'"),
    (["serve", "--port", "0", "--database-url", NOBODY], r"--database-url: no PostgreSQL answers"),
    (["serve", "--home", "/dev/null/home"], r"--home: cannot use /dev/null/home as a home: Not a"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=lambda value: str(value)[:60])
def test_wrong_input_is_one_line_that_says_what_and_where(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str | Path],
    said: str,
) -> None:
    monkeypatch.setenv("GRIDROAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["gridroam", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    refused_for(Done(ended.value.code, told.out, told.err), said)  # type: ignore[arg-type]


@pytest.mark.parametrize(("arguments", "said"), WRONG_HUBS, ids=lambda value: str(value)[:60])
async def test_a_hub_that_cannot_run_like_that_says_why_in_one_line(
    tmp_path: Path, arguments: list[str | Path], said: str
) -> None:
    environment = {"GRIDROAM_HOME": str(tmp_path / "home")}
    refused_for(await gridroam(*arguments, tmp_path=tmp_path, environment=environment), said)


def refused_for(done: Done, said: str) -> None:
    assert done.code == 2
    assert re.match(said, done.complaint), done.complaint
    assert "sekret" not in done.err


async def test_a_file_that_holds_no_charge_points_is_refused_whole(
    tmp_path: Path, hub_database_url: str
) -> None:
    (tmp_path / "poem.csv").write_text("roses;violets\nred;blue\n")
    (tmp_path / "empty").touch()
    options = ("--home", tmp_path, "--database-url", hub_database_url)
    for name, said in (("poem.csv", "no.* CSV with a column id_pdc"), ("empty", "file is empty")):
        done = await gridroam("import", "evses", tmp_path / name, *options, tmp_path=tmp_path)
        assert done.code == 2
        assert re.search(said, done.complaint), done.complaint


async def test_help_has_examples_for_every_command(tmp_path: Path) -> None:
    whole = await gridroam("--help", tmp_path=tmp_path)
    assert whole.code == 0
    for command in (
        *(["serve"], ["partner", "add"], ["import", "evses"], ["replay"], ["day"]),
        *(["clear"], ["events"]),
    ):
        told = await gridroam(*command, "--help", tmp_path=tmp_path)
        assert told.code == 0
        assert f"  gridroam {' '.join(command)}" in told.out
        assert command[0] in whole.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["serve", "--port", "http"], 2), (["import", "evses", "nowhere.csv"], 2)],
)
async def test_started_by_hand_it_says_what_it_says_when_tests_fork_it(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    done = await gridroam(*arguments, tmp_path=tmp_path)
    assert done == await _by_hand(*arguments)
    assert done.code == code


async def test_without_its_assertions_it_does_not_run() -> None:
    said = "gridroam does not run under python -O: its assertions guard money\n"
    assert await _by_hand("--help", options=["-O"]) == Done(2, "", said)


async def test_what_nobody_foresaw_is_one_line_and_can_be_asked_about(
    tmp_path: Path, hub_database_url: str
) -> None:
    """A database whose tables somebody else has changed stands for all that cannot be foreseen."""
    options = ("--home", tmp_path, "--database-url", hub_database_url)
    assert lines_of(await gridroam("partner", "list", *options, tmp_path=tmp_path)) == []
    await _run_sql(hub_database_url, "ALTER TABLE marketplace.partner RENAME TO gone")
    done = await gridroam("partner", "list", *options, tmp_path=tmp_path)
    assert done.code == 1
    assert done.complaint.startswith("the database: ")
    assert "marketplace.partner" in done.complaint
    asked = await gridroam(
        "partner", "list", *options, tmp_path=tmp_path, environment={"GRIDROAM_TRACEBACK": "1"}
    )
    assert asked.code == 1
    assert asked.err.startswith("Traceback")


async def _by_hand(*arguments: str, options: Sequence[str] = ()) -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *options, "-m", "gridroam.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def _run_sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()
