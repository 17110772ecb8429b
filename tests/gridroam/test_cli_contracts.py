"""How contracts are shown to whoever sits at the hub."""

from __future__ import annotations

from rich.console import Console

from gridroam.cli_contracts import table_of

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


def shown(width: int, **changes: str) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table_of([CONTRACT | changes]))
    return captured.get()
