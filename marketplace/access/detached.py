"""Detached signatures over bodies as they are: JWS, RFC 7515, appendix F, with RFC 7797.

joserfc's own serialiser takes text alone for such a payload, so the two lines in which a signature
is made are ours; verifying is joserfc's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from joserfc.util import json_b64encode, urlsafe_b64encode

from kit.access_token import ALGORITHM
from marketplace.access.keys import ASSERTION_ALGORITHMS, key_set
from marketplace.access.model import BadSignature

LONGEST_HEADER = 4 * 1024
LONGEST_CONTENT = 1024 * 1024
_AS_IT_IS = {"b64": False, "crit": ["b64"]}


def sign(header: Mapping[str, Any], content: bytes, kid: str, key: ECKey) -> str:
    """A detached JWS; `header` are further members of the protected header."""
    protected = json_b64encode({"alg": ALGORITHM, "kid": kid, **_AS_IT_IS, **header})
    made = JWSRegistry.algorithms[ALGORITHM].sign(protected + b"." + content, key)
    return f"{protected.decode()}..{urlsafe_b64encode(made).decode()}"


def verify(
    signature: str, content: bytes, public_keys: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The key that the signature was made with. Raises BadSignature."""
    registry = JWSRegistry(algorithms=ASSERTION_ALGORITHMS, strict_check_header=False)
    registry.max_header_length = LONGEST_HEADER
    registry.max_payload_length = LONGEST_CONTENT
    try:
        encoded = signature.encode("ascii")
        if encoded.split(b".")[1:2] != [b""]:
            raise BadSignature("the signature has a payload of its own", rule=_RULE)
        protected = jws.extract_compact(encoded, content, registry).headers()
    except (JoseError, ValueError, TypeError, AttributeError) as error:
        raise BadSignature(f"no signature: {_told(error)}", rule=_RULE) from None
    if protected.get("b64") is not False:
        raise BadSignature("the signature is not over the body as it is", rule=_RULE)
    kid = protected.get("kid")
    for key in public_keys:
        if kid is None or key.get("kid", kid) == kid:
            try:
                jws.deserialize_compact(encoded, key_set([key]).keys[0], None, registry, content)
            except (JoseError, ValueError, TypeError):
                continue
            return key
    raise BadSignature(
        "the signature does not hold over this body by any key of the client",
        rule="sign the body as it is sent, with a key of the client that calls",
    )


_RULE = 'a detached JWS with {"b64": false, "crit": ["b64"]}: <protected header>..<signature>'


def _told(error: Exception) -> str:
    return str(getattr(error, "description", "")) or type(error).__name__
