"""How a caller's signature over its body is verified, and the answer signed where it is wanted.

The caller's signature is looked at before anything is forwarded, and kept before the answer is
given away. Calls that ask for neither know nothing of this.
"""

from __future__ import annotations

from starlette.types import Message

from gateway.bridging.exchange import Written, whole
from gateway.calls.flows import PREFER, SIGNATURE
from gateway.calls.model import Call
from gateway.calls.ports import Answer, Body, Words
from gateway.calls.refusals import ForwardFailed
from gateway.signing.model import (
    KIND,
    MOST_BYTES,
    PREFERENCE,
    Signature,
    SignedCall,
    digest_of,
    prefers_signed,
)
from gateway.signing.ports import Callers, Evidence, Signer
from roaming.refusal import Refusal


class Signing:
    """Signs in the name of one hub."""

    def __init__(self, issuer: str, callers: Callers, signer: Signer, evidence: Evidence) -> None:
        self._issuer = issuer
        self._callers = callers
        self._signer = signer
        self._evidence = evidence

    async def begin(self, call: Call, body: Body, answer: Answer) -> tuple[Body, Answer]:
        """Body and answer for the rest of the way. Raises SignatureInvalid, BodyTooLarge."""
        request: Signature | None = None
        sent = call.headers.get(SIGNATURE)
        if sent is not None:
            assert call.client_id is not None
            content = await whole(body, MOST_BYTES)
            text = sent.decode("latin-1")
            key = await self._callers.verify(call.client_id, text, content)
            request = Signature(text, digest_of(content), key)
            body = Written(content, body)
            if call.service is not None and call.service.turned:
                # It says nothing of the words that the provider will read.
                call.headers = {n: v for n, v in call.headers.items() if n != SIGNATURE}
        wanted = prefers_signed(call.headers.get(PREFER, b"").decode("latin-1"))
        if request is None and not wanted:
            return body, answer
        return body, SignedAnswer(self, call, answer, request, wanted=wanted)

    def sign(self, call: Call, request: Signature | None, status: int, content: bytes) -> str:
        """Over the answer's body, with what it answers in the protected header."""
        header = {
            "typ": KIND,
            "iss": self._issuer,
            "aud": call.party,
            "iat": int(call.at.timestamp()),
            "request_id": call.request_id,
            "contract_id": call.contract_id,
            "service": call.service_name,
            "operation": call.operation,
            "status": status,
            "request_sha256": None if request is None else request.digest,
        }
        told = {name: value for name, value in header.items() if value is not None}
        return self._signer.sign_detached(told, content, call.at)

    async def keep(
        self,
        call: Call,
        request: Signature,
        status: int,
        answer_digest: str | None = None,
        answer_signature: str | None = None,
    ) -> None:
        """Raises NotRecorded; then the answer stays here."""
        assert call.party is not None
        assert call.client_id is not None
        assert call.service is not None
        assert call.operation is not None
        await self._evidence.keep(
            SignedCall(
                at=call.at,
                request_id=call.request_id,
                caller=call.party,
                client_id=call.client_id,
                provider=call.service.provider,
                service=call.service_name,
                major=call.major,
                operation=call.operation,
                contract_id=call.contract_id,
                sandbox=call.sandbox,
                status=status,
                request=request,
                answer_digest=answer_digest,
                answer_signature=answer_signature,
            )
        )


class SignedAnswer:
    """An answer that is held until it is whole, then signed and kept, and only then given away.

    One that is too long for that is passed on as it comes: a signature is a preference.
    """

    def __init__(
        self,
        signing: Signing,
        call: Call,
        answer: Answer,
        request: Signature | None,
        *,
        wanted: bool,
    ) -> None:
        self._signing = signing
        self._call = call
        self._answer = answer
        self._request = request
        self._wanted = wanted
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._held: list[bytes] | None = []
        self._size = 0

    @property
    def words(self) -> Words:
        return self._answer.words

    @words.setter
    def words(self, words: Words) -> None:
        self._answer.words = words

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status, self._headers = status, headers

    async def write(self, chunk: bytes, *, more: bool) -> None:
        held = self._held
        if held is None:
            await self._answer.write(chunk, more=more)
            return
        held.append(chunk)
        self._size += len(chunk)
        if self._size > MOST_BYTES:
            await self._keep()
        elif not more:
            await self._sign(b"".join(held))
        else:
            return
        self._held = None
        await self._answer.start(self._status, self._headers)
        await self._answer.write(b"".join(held), more=more)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self.start(message["status"], list(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            await self.write(message.get("body", b""), more=message.get("more_body", False))

    async def refuse(self, refusal: Refusal) -> None:
        """What never reached its provider leaves no evidence; what may have done so, does."""
        if isinstance(refusal, ForwardFailed) and self._held is not None:
            await self._keep()
        await self._answer.refuse(refusal)

    async def _sign(self, content: bytes) -> None:
        signature = None
        if self._wanted:
            signature = self._signing.sign(self._call, self._request, self._status, content)
            self._headers.append((SIGNATURE, signature.encode()))
            self._headers.append((b"preference-applied", PREFERENCE.encode()))
        await self._keep(digest_of(content), signature)

    async def _keep(self, digest: str | None = None, signature: str | None = None) -> None:
        if self._request is not None:
            await self._signing.keep(self._call, self._request, self._status, digest, signature)
