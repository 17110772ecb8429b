"""How contracts are shown to whoever sits at the hub."""

from __future__ import annotations

from rich.console import Console

from gridroam.cli_contracts import table_of


def test_an_id_stands_in_one_line_however_narrow_the_terminal() -> None:
    """It is copied into the next command."""
    contract = {
        "contract_id": "019ca945-0a00-795d-b526-c3388d629dc3",
        "service": "contract-validation",
        "major": 1,
        "provider": "EU*GRD",
        "requester": "FR*PD1",
        "status": "terminated",
        "valid_from": "2026-11-26T14:09:01Z",
        "valid_until": "2027-11-26T14:09:01Z",
    }
    console = Console(width=80)
    with console.capture() as shown:
        console.print(table_of([contract]))
    assert "019ca945-0a00-795d-b526-c3388d629dc3" in shown.get()
