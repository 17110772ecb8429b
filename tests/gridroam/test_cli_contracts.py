"""How contracts are shown to whoever sits at the hub."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from gridroam.cli_contracts import history_of, table_of

CONTRACT = {
    "contract_id": "019ca945-0a00-795d-b526-c3388d629dc3",
    "service": "contract-validation",
    "major": 1,
    "provider": "EU*GRD",
    "requester": "FR*PD1",
    "status": "agreed",
    "valid_from": "2026-11-26T14:09:01Z",
    "valid_until": None,
    "ends": "2027-11-26T14:09:01Z",
    "absence": None,
}


def test_an_id_stands_in_one_line_however_narrow_the_terminal() -> None:
    """It is copied into the next command."""
    assert "019ca945-0a00-795d-b526-c3388d629dc3" in shown(80)


def test_until_when_is_by_its_notice_too_and_what_has_expired_is_not_called_agreed() -> None:
    assert "2027-11-26" in shown(200)
    assert "agreed" not in shown(200, absence="expired")


def test_a_history_says_what_was_done_and_until_when_it_goes_on() -> None:
    data = {"action": "terminate", "by": "FR*PD1", "status": "agreed", "ends": "2027-02-24T14:51Z"}
    entry = {
        "type": "contract-status-changed",
        "occurred_at": "2026-11-26T14:51:00Z",
        "data": data | {"reason": "We forecast ourselves now."},
    }
    [line] = [one for one in printed(history_of([entry]), 200).splitlines() if "FR*PD1" in one]
    assert "terminate" in line
    assert "agreed, until 2027-02-24" in line


def shown(width: int, **changes: str) -> str:
    return printed(table_of([CONTRACT | changes]), width)


def printed(table: Table, width: int) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
