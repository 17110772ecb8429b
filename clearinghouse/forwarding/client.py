"""Records to an EVSP: to its endpoint over HTTP, as JSON or SOAP, or into a folder of its host."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bridge import soap_envelope
from clearinghouse.forwarding import wire
from clearinghouse.forwarding.model import Delivery, Proof, Reply, SftpPlace, Verdict
from clearinghouse.forwarding.ports import Endpoint, FileSender, Sender
from kit import sftp
from kit.outside_client import beginning_of, open_session, words
from kit.outside_resolver import OutsideResolver
from kit.outside_url import is_inside, is_loopback

_MOST_READ_BYTES = 16 * 1024
FILES_AT_ONCE = 4


class HttpSender:
    """POST {"delivery_id", "cdrs": [...]}. Make it with `open`, in a running loop; then `close`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    def open(cls, *, timeout_s: float = 10.0, allow_loopback: bool = False) -> HttpSender:
        """`allow_loopback`: a host name may lead to this very machine."""
        return cls(open_session(timeout_s=timeout_s, allow_loopback=allow_loopback))

    async def close(self) -> None:
        await self._session.close()

    async def send(self, endpoint: Endpoint, delivery: Delivery) -> Reply:
        body = wire.json_body(delivery)
        headers = {"Content-Type": "application/json", "Idempotency-Key": delivery.delivery_id}
        status, said = await self.post(endpoint, body, headers)
        if status is None:
            return Reply(None, words(said), proof=_proof(endpoint, body, None))
        return Reply(status, words(said), proof=_proof(endpoint, body, said, wire.receipt_in(said)))

    async def post(
        self, endpoint: Endpoint, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int | None, bytes]:
        """The status and how the answer begins; or None, and what went wrong."""
        try:
            async with self._session.post(
                endpoint.url,
                data=body,
                headers={**endpoint.headers, **headers},
                # A partner's redirect could send its customers' records anywhere.
                allow_redirects=False,
            ) as response:
                return response.status, await beginning_of(response, _MOST_READ_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return None, f"{type(error).__name__}: {error}".encode()


class SoapSender:
    """The operation of our WSDL, over the HTTP of another sender."""

    def __init__(self, http: HttpSender) -> None:
        self._http = http

    async def send(self, endpoint: Endpoint, delivery: Delivery) -> Reply:
        body = wire.soap_body(delivery)
        headers = {
            "Content-Type": soap_envelope.content_type("1.1", ""),
            "SOAPAction": wire.SOAP_ACTION,
            "Idempotency-Key": delivery.delivery_id,
        }
        status, said = await self._http.post(endpoint, body, headers)
        if status is None:
            return Reply(None, words(said), proof=_proof(endpoint, body, None))
        means, says, receipt = wire.soap_answer(said, _MOST_READ_BYTES)
        reply = Reply(status, words(says.encode()), proof=_proof(endpoint, body, said, receipt))
        if means is Verdict.DELIVERED and not 200 <= status < 300:
            means = None
        if means is None:
            # Not in the words of the WSDL: a mere 200 is no yes, a mere 400 no word on the records.
            means = Verdict.RETRY
            reply = replace(reply, says=words(f"{says}: ".encode() + said))
        return replace(reply, means=means)


class SftpSender:
    """A file of NDJSON, `<delivery_id>.ndjson`, a few of them at once."""

    def __init__(self, *, timeout_s: float = 60.0, allow_loopback: bool = False) -> None:
        self._timeout_s = timeout_s
        self._allow_loopback = allow_loopback
        self._turns = asyncio.Semaphore(FILES_AT_ONCE)

    async def send(self, place: SftpPlace, private_key: bytes, delivery: Delivery) -> Reply:
        body = wire.lines_body(delivery)
        proof = Proof(hashlib.sha256(body).digest(), place.host)
        try:
            address = await self._address_of(place)
        except OSError as error:
            return Reply(None, words(str(error).encode()), proof=proof)
        host = sftp.Host(address, place.port, place.user, place.host_key)
        async with self._turns:
            ended = await sftp.put(
                host,
                private_key,
                place.directory,
                f"{delivery.delivery_id}.ndjson",
                body,
                timeout_s=self._timeout_s,
            )
        # Nothing that a host of files can say is about what is in them.
        means = Verdict.DELIVERED if ended.code == 0 else Verdict.RETRY
        return Reply(None, words(ended.says.encode()), means=means, proof=proof)

    async def _address_of(self, place: SftpPlace) -> str:
        """Looked up and looked at now, and called by what was looked at."""
        if is_inside(place.host) and not (self._allow_loopback and is_loopback(place.host)):
            raise OSError(f"{place.host} is inside the hub's own network")
        resolver = OutsideResolver(allow_loopback=self._allow_loopback)
        try:
            found = await resolver.resolve(place.host, place.port, socket.AF_UNSPEC)
        finally:
            await resolver.close()
        return str(found[0]["host"])


@dataclass(frozen=True, slots=True)
class Senders:
    """One for each channel."""

    http: Sender
    soap: Sender
    sftp: FileSender


def senders_over(http: HttpSender, *, allow_loopback: bool = False) -> Senders:
    return Senders(http, SoapSender(http), SftpSender(allow_loopback=allow_loopback))


def _proof(endpoint: Endpoint, body: bytes, said: bytes | None, receipt: Any = None) -> Proof:
    return Proof(
        body_sha256=hashlib.sha256(body).digest(),
        host=urlsplit(endpoint.url).hostname or "",
        answer_sha256=None if said is None else hashlib.sha256(said).digest(),
        receipt=receipt,
    )
