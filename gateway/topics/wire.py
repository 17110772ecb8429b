"""An event on the wire: a CloudEvent (CloudEvents 1.0, JSON), the same in all three ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.topics.model import Event
from kit.encoding import encode_json

BATCH_TYPE = "application/cloudevents-batch+json"


def shown(event: Event, hub_url: str) -> dict[str, Any]:
    """`subject` is the key of the event's stream; `recordedtime` is when the hub wrote it down."""
    told = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": f"{hub_url}/topics/{event.topic}",
        "type": event.type,
        "subject": event.key,
        "time": event.at,
        "recordedtime": event.recorded_at,
        "datacontenttype": "application/json",
        "data": event.data,
    }
    if event.correlation_id is not None:
        told["correlationid"] = event.correlation_id
    return told


def batch(events: Sequence[Event], hub_url: str) -> bytes:
    """What a webhook is sent (CloudEvents HTTP binding, batched content mode)."""
    return encode_json([shown(event, hub_url) for event in events])


def line(event: Event, hub_url: str) -> bytes:
    """A server-sent event; JSON of ours has no line breaks."""
    return b"id: %s\ndata: %s\n\n" % (str(event.id).encode(), encode_json(shown(event, hub_url)))
