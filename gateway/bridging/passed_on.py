"""SOAP to SOAP: the caller's envelope as it is, without its login, and the answer as it comes."""

from __future__ import annotations

from starlette.types import Message

from bridge.soap_envelope import BadEnvelope
from bridge.wsdl import SoapInterface, SoapOperation
from gateway.bridging import envelope
from gateway.bridging.aside import aside
from gateway.bridging.envelope import Beginning, Envelope
from gateway.bridging.exchange import Written, asked_otherwise, broken
from gateway.bridging.logins import security_for
from gateway.bridging.model import media_type_of
from gateway.bridging.sides import Desk
from gateway.calls.flows import Door
from gateway.calls.model import Call
from gateway.calls.ports import Answer, Body, Carry, Words
from roaming.refusal import Refusal

_OF_SOAP = frozenset(("text/xml", "application/soap+xml", "application/xml", "multipart/related"))


def operation(asked: Envelope, interface: SoapInterface) -> SoapOperation:
    """What is asked, by the body and by all that is said of it: a server may go by either.

    Raises UnknownOperation, BadEnvelope.
    """
    found = interface.asked(asked.tag, asked.action)
    own = found.soap_action.strip()
    if own:
        wrong = asked.actions - {own}
    else:
        wrong = asked.actions & {one.soap_action.strip() for one in interface.operations.values()}
    if wrong:
        raise BadEnvelope(
            "the envelope's body asks for one thing, and its action for another",
            field="SOAPAction",
            value=min(wrong)[:200],
            rule=f'"{own}" for {found.name}, or none',
        )
    return found


async def way(
    call: Call,
    asked: Envelope,
    theirs: Body,
    door: Door,
    desk: Desk,
    found: SoapOperation,
) -> Carry:
    """The envelope goes on in every byte, but for the logins: the caller's is for the hub alone,
    and the provider may ask the hub for one of its own.
    """
    assert call.service is not None
    login = desk.logins.open(call.service)

    def written() -> bytes:
        content = envelope.without_security(asked.content) if asked.secured else asked.content
        if login is not None:
            security = security_for(login, asked.version, desk.clock())
            content = envelope.with_security(content, security.encode("ascii", "xmlcharrefreplace"))
        return content

    content = await aside(len(asked.content), written)
    kept = {
        name.decode(): value.decode("latin-1")
        for name, value in call.headers.items()
        if name in (b"soapaction", b"accept", b"accept-encoding")
    }
    if call.grant is not None and call.grant.priced:
        # A fault costs nothing, and has to be seen to be one.
        kept.pop("accept-encoding", None)
    if asked.version == "1.1" and not asked.actions:
        kept["soapaction"] = f'"{found.soap_action}"'
    # What was UTF-16 may be UTF-8 now; what the envelope itself declares is true in both.
    told = call.headers[b"content-type"].decode("latin-1")

    async def carry(call: Call, body: Body, answer: Answer) -> None:
        inner = asked_otherwise(call, "POST", "", "", told, kept)
        await door.remote(inner, Written(content, theirs), _Soap(call, inner, answer))

    return carry


class _Soap:
    """An answer that is passed on as it comes, so long as it could be one in SOAP.

    A fault is recorded as what it is, under whatever status it comes: 422 where it blames the
    caller, 502 where it does not, as where it is told in JSON.
    """

    __slots__ = ("_answer", "_asked", "_begun", "_call")

    def __init__(self, call: Call, asked: Call, answer: Answer) -> None:
        self._call = call
        self._asked = asked
        self._answer = answer
        self._begun = Beginning()

    @property
    def words(self) -> Words:
        return self._answer.words

    @words.setter
    def words(self, words: Words) -> None:
        self._answer.words = words

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        told = dict(headers)
        media_type = media_type_of(told.get(b"content-type", b"").decode("latin-1"))
        nothing = 200 <= status < 300 and told.get(b"content-length", b"0") == b"0"
        if not nothing and media_type not in _OF_SOAP:
            raise broken(self._asked, f"answered {status} with {media_type or 'nothing'}, no SOAP")
        await self._answer.start(status, headers)

    async def write(self, chunk: bytes, *, more: bool) -> None:
        self._begun.read(chunk)
        if self._begun.is_fault:
            self._call.outcome = 422 if self._begun.blames_caller else 502
        await self._answer.write(chunk, more=more)

    async def send(self, message: Message) -> None:
        await self._answer.send(message)

    async def refuse(self, refusal: Refusal) -> None:
        await self._answer.refuse(refusal)
