"""Every way that the door says no, and what it is told by. Pure."""

from __future__ import annotations

from gateway.calls.model import Denial, Left, Reason
from roaming.refusal import (
    Malformed,
    NotYours,
    Refusal,
    TooLarge,
    TooMuch,
    Unauthenticated,
    Unavailable,
    Unknown,
)


class CallRefused(Refusal):
    """The base of all refusals below that are kept in the log; `reason` is the name told there."""

    reason: Reason
    contract_id: str | None = None


class CallerUnknown(CallRefused, Unauthenticated):
    """No access token came with the call, or none that counts."""

    reason = Reason.UNAUTHENTICATED


class CertificateMismatch(CallRefused, Unauthenticated):
    """The access token is bound to a certificate, and the connection shows another or none."""

    reason = Reason.CERTIFICATE_MISMATCH

    def __init__(self) -> None:
        super().__init__(
            "the access token is bound to a certificate that this connection does not show",
            field="Authorization",
            value=self.reason.value,
            rule="call with the certificate that the token was got with (RFC 8705), or get another",
        )


class ScopeMissing(CallRefused, NotYours):
    """The access token is good, but not for this: its client asked for other scopes."""

    reason = Reason.SCOPE_MISSING

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"the access token does not hold the scope {scope}",
            field="scope",
            value=scope,
            rule="a token with this scope: name it at /oauth/token, or name none and get all",
        )


class DutyMissing(CallRefused, NotYours):
    """The person who calls is known, and this is not among its duties."""

    reason = Reason.DUTY_MISSING


class SandboxNotServed(CallRefused, NotYours):
    """The token is of the sandbox, and what it asks for has none."""

    reason = Reason.SANDBOX_NOT_SERVED


class SignatureInvalid(CallRefused, Malformed):
    """The caller's signature over its body does not hold, so nothing of it is passed on."""

    reason = Reason.SIGNATURE_INVALID


class ServiceUnknown(CallRefused, Unknown):
    """The catalogue has no such service, or not in this version."""

    reason = Reason.SERVICE_UNKNOWN


class ServiceSuspended(CallRefused, Unavailable):
    """The service is in the catalogue and may not be called now."""

    reason = Reason.SERVICE_SUSPENDED


class NotCovered(CallRefused, NotYours):
    """No contract in force covers the call."""

    def __init__(self, detail: str, denial: Denial, *, rule: str) -> None:
        super().__init__(detail, field="contract", value=denial.reason.value, rule=rule)
        self.reason = denial.reason
        self.contract_id = denial.contract_id


class OverLimit(CallRefused, TooMuch):
    """The base of the two ways in which a contract's calls are used up. `lefts` is what is left of
    its limits, the one that stands in the way last.
    """

    lefts: tuple[Left, ...]
    retry_after_s: int | None = None


class QuotaExceeded(OverLimit):
    """The calls of this second, day or month are used up. `retry_after_s` until the next."""

    reason = Reason.QUOTA_EXCEEDED

    def __init__(self, *, contract_id: str, lefts: tuple[Left, ...]) -> None:
        period, limit, _, reset_s = lefts[-1]
        super().__init__(
            f"contract {contract_id} allows {limit} calls a {period}",
            field="quota",
            value=limit,
            rule=f"try again in {reset_s} seconds",
        )
        self.contract_id = contract_id
        self.lefts = lefts
        self.retry_after_s = reset_s


class PackUsedUp(OverLimit):
    """All calls that were bought are made, or none was bought yet."""

    reason = Reason.PACK_USED_UP

    def __init__(self, *, contract_id: str, lefts: tuple[Left, ...]) -> None:
        bought = lefts[-1].limit
        super().__init__(
            f"contract {contract_id} is prepaid, and of {bought} calls bought none is left",
            field="pack",
            value=bought,
            rule=f"buy a pack: POST /marketplace/contracts/{contract_id}/packs",
        )
        self.contract_id = contract_id
        self.lefts = lefts


class QuotaUnreadable(Unavailable):
    """How much of the quota is used cannot be known now; so nothing of it is given out."""


class CallerTooBusy(CallRefused, TooMuch):
    """The client calls faster, or more at once, than any client may."""

    retry_after_s = 1

    def __init__(self, detail: str, reason: Reason, *, rule: str) -> None:
        super().__init__(detail, rule=rule)
        self.reason = reason


class HubBusy(Unavailable):
    """What all callers together have under way is as much as this process can hold."""

    retry_after_s = 1


class ContractsTooOld(Unavailable):
    """The contract table could not be refreshed for too long to be trusted."""


class OperationUnknown(Unknown):
    """The service has no such operation."""


class BadPath(Malformed):
    """The path is not one that every server reads the same way."""


class BadHeader(Malformed):
    """A header that cannot be passed on as it is."""


class HeadersTooLarge(TooMuch):
    """The headers or the path are larger than any call needs."""


class BodyTooLarge(TooLarge):
    """The body is larger than a call may carry."""


class NotServedHere(Unavailable):
    """The service belongs to the hub and is not part of this process."""


class ForwardFailed(Refusal):
    """The provider gave no answer that can be passed on: the base of the ways it can fail."""


class ProviderUnreachable(ForwardFailed):
    """No connection to the provider's endpoint could be made."""


class ProviderBroken(ForwardFailed):
    """The provider's answer ended early, or was no HTTP."""


class ProviderSilent(ForwardFailed):
    """The provider did not answer in time."""


class ProviderResting(ForwardFailed):
    """All endpoints failed so often that none is asked for a while."""

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail, rule=f"try again in {retry_after_s} seconds")
        self.retry_after_s = retry_after_s


class CallerGone(ForwardFailed):
    """The caller closed the connection before it was answered."""
