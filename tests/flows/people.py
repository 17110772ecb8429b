"""People of partners as stories need them: invited, with an authenticator, logged in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyotp

from kit.clock import utc_now
from tests.hub import Answer, Partner

PASSWORD = "grasshopper tuba lantern"
LOGIN = "/marketplace/people"


@dataclass(slots=True)
class Somebody:
    """A person with a token of its own: `calls` is what a partner's program would be."""

    calls: Partner
    person_id: str
    email: str
    totp: pyotp.TOTP
    recovery_codes: list[str] = field(default_factory=list)

    def code(self, steps: int = 0) -> str:
        """The code of now, or of so many steps later. What the clock does meanwhile is no matter:
        the code of a step is good for one step before and one after."""
        return self.totp.at(utc_now(), counter_offset=steps)

    async def log_in(self, **shown: Any) -> Answer:
        """By a recovery code, if nothing else is said: of those there are enough."""
        if not shown:
            shown = {"recovery_code": self.recovery_codes.pop()}
        asked = {"party": self.calls.party, "email": self.email, "password": PASSWORD, **shown}
        answer = await self.calls.call("POST", f"{LOGIN}/login", asked)
        if answer.status == 200:
            self.calls.token = answer.body["access_token"]
        return answer


async def invited(by: Partner, email: str, *duties: str, party: str | None = None) -> Any:
    """The hub's answer, with the token."""
    return await by.post(
        f"/marketplace/partners/{party or by.party}/people",
        {"email": email, "name": email.partition("@")[0], "duties": list(duties)},
    )


async def joined(by: Partner, email: str, *duties: str) -> Somebody:
    """A person of the party, who has accepted and is logged in."""
    return await accepts(by, await invited(by, email, *duties))


async def accepts(by: Partner, invitation: Any) -> Somebody:
    told = invitation["person"]
    nobody = Partner(by.party, "", "", by.http)
    token = invitation["token"]
    enrolled = await nobody.post(f"{LOGIN}/accept", {"token": token, "password": PASSWORD})
    somebody = Somebody(nobody, told["person_id"], told["email"], pyotp.TOTP(enrolled["secret"]))
    session = await nobody.post(f"{LOGIN}/confirm", {"token": token, "code": somebody.code()})
    somebody.recovery_codes = session["recovery_codes"]
    nobody.token = session["access_token"]
    return somebody
