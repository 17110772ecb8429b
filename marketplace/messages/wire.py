"""A message on the wire: a CloudEvent (CloudEvents 1.0, JSON), the same at every attempt."""

from __future__ import annotations

from typing import Any

from kit.encoding import encode_json
from marketplace.messages.model import Message

CONTENT_TYPE = "application/cloudevents+json"


def shown(message: Message, hub_url: str) -> dict[str, Any]:
    """`id` is the message's own; `subject` is what it is about, whose messages come in order."""
    return {
        "specversion": "1.0",
        "id": message.message_id,
        "source": f"{hub_url}/marketplace/messages",
        "type": message.type,
        "subject": message.subject,
        "time": message.occurred_at,
        "datacontenttype": "application/json",
        "data": message.body,
    }


def content(message: Message, hub_url: str) -> bytes:
    return encode_json(shown(message, hub_url))
