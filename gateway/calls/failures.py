"""The ways in which an endpoint fails, and what the caller is told of each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import aiohttp

from gateway.calls.model import Call
from gateway.calls.refusals import (
    ForwardFailed,
    ProviderBroken,
    ProviderSilent,
    ProviderUnreachable,
)


class Failure(StrEnum):
    """How an endpoint failed. A 500 is none: that call went wrong, and the endpoint is there."""

    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    NO_CONNECTION_IN_TIME = "no-connection-in-time"
    BROKE_OFF = "broke-off"
    NO_HTTP = "no-http"
    SILENT = "silent"
    AILING = "answered-502-503-504"
    # Told by no call: what its health path answered was no 2xx.
    UNHEALTHY = "unhealthy"

    @property
    def nothing_sent(self) -> bool:
        """The partner cannot have seen the call."""
        return self in _NOTHING_SENT

    @property
    def may_pass(self) -> bool:
        """The same endpoint may do better in a moment."""
        return self in (Failure.UNREACHABLE, Failure.BROKE_OFF)


_NOTHING_SENT = frozenset((Failure.UNREACHABLE, Failure.CERTIFICATE, Failure.NO_CONNECTION_IN_TIME))


def failure_of(error: Exception) -> Failure:
    if isinstance(error, TimeoutError):
        # All other time is watched.
        return Failure.NO_CONNECTION_IN_TIME
    if isinstance(error, aiohttp.ClientSSLError):
        return Failure.CERTIFICATE
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failure.UNREACHABLE
    if isinstance(
        error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError
    ):
        return Failure.BROKE_OFF
    return Failure.NO_HTTP


# What a caller is told of each failure: which refusal, what happened, what to do.
_LATER = "try again later, or ask {provider}"
_SAME_KEY = "try again with the same Idempotency-Key: it may have done the work"
_TOLD: Mapping[Failure, tuple[type[ForwardFailed], str, str]] = {
    Failure.UNREACHABLE: (ProviderUnreachable, "cannot be reached", _LATER),
    Failure.CERTIFICATE: (
        ProviderUnreachable,
        "shows a certificate that the hub does not trust",
        "ask {provider} for a certificate of its name, in force, by a public authority",
    ),
    Failure.NO_CONNECTION_IN_TIME: (ProviderSilent, "took no connection in time", _LATER),
    Failure.SILENT: (ProviderSilent, "did not answer in time", _SAME_KEY),
    Failure.BROKE_OFF: (ProviderBroken, "broke off in its answer, or before it", _SAME_KEY),
    Failure.NO_HTTP: (ProviderBroken, "answered in no HTTP", _SAME_KEY),
}


def explained(call: Call, failure: Failure, error: Exception) -> ForwardFailed:
    assert call.service is not None
    provider = call.service.provider
    kind, what, rule = _TOLD[failure]
    detail = f"{call.service_name} of {provider} {what}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        detail += f": {getattr(error.certificate_error, 'verify_message', 'not verified')}"
    return kind(detail, rule=rule.format(provider=provider))
