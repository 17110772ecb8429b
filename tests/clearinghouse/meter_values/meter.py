"""A meter that signs what it reads, as OCMF says; its key is made anew for each run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from clearinghouse.meter_values.model import spelt

BEGIN, END = "2025-01-15T13:00:10,000+0100", "2025-01-15T13:59:50,000+0100"


class Meter:
    def __init__(
        self, curve: ec.EllipticCurve | None = None, method: str = "ECDSA-secp256r1-SHA256"
    ) -> None:
        self.private = ec.generate_private_key(curve or ec.SECP256R1())
        self.key = spelt(self.private.public_key())
        self.method = method

    def signs(self, payload: str) -> str:
        """Any text, as the payload of OCMF."""
        signature = self.private.sign(payload.encode(), ec.ECDSA(hashes.SHA256())).hex()
        return f'OCMF|{payload}|{{"SA":"{self.method}","SD":"{signature}"}}'

    def charge(
        self, begin_kwh: str = "100.00", end_kwh: str = "110.00", clock: str = "S", **more: str
    ) -> str:
        """Begin and end of a charge in one text. What is as before in the second is left out.

        `clock`: S for synchronised, U for unknown.
        """
        begin = {
            "TM": f"{BEGIN} {clock}",
            "TX": "B",
            "RI": "1-0:1.8.0",
            "RU": "kWh",
            "ST": "G",
        } | more
        one = json.dumps(begin)[:-1] + f', "RV": {begin_kwh}}}'
        two = f'{{"TM": "{END} {clock}", "TX": "E", "RV": {end_kwh}}}'
        return self.signs(
            f'{{"FV":"1.0","PG":"T1","MS":"1","IS":false,"IT":"NONE","RD":[{one}, {two}]}}'
        )


def ocpi(texts: Sequence[str], public_key: str | None = None, **more: Any) -> list[dict[str, Any]]:
    """OCPI's SignedData with these texts in it."""
    entry: dict[str, Any] = {
        "encoding_method": "OCMF",
        "signed_values": [
            {"nature": "End", "plain_data": "", "signed_data": text} for text in texts
        ],
        **more,
    }
    return [entry if public_key is None else {**entry, "public_key": public_key}]
