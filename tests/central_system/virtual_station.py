"""A charge point for tests: the `ocpp` package's own client, over the `websockets` library."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from ocpp.v16 import ChargePoint, call
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from roaming.party import PartyId
from tests.central_system.fakes import OPERATOR, PASSWORD, Central


class VirtualStation:
    def __init__(self, identity: str, socket: ClientConnection) -> None:
        self.socket = socket
        self._station = ChargePoint(identity, socket, response_timeout=10)
        self._listening = asyncio.create_task(self._station.start())

    async def call(self, message: Any, unique_id: str | None = None) -> Any:
        return await self._station.call(message, suppress=False, unique_id=unique_id)

    async def boot(self) -> Any:
        return await self.call(call.BootNotification("Model", "Vendor"))

    async def status(
        self, status: ChargePointStatus, at: datetime | None = None, connector_id: int = 1
    ) -> None:
        await self.call(
            call.StatusNotification(
                connector_id,
                ChargePointErrorCode.no_error,
                status,
                None if at is None else at.isoformat(),
            )
        )

    async def authorise(self, id_tag: str) -> Any:
        return (await self.call(call.Authorize(id_tag))).id_tag_info

    async def start(
        self, id_tag: str, at: datetime, meter_wh: int = 0, connector_id: int = 1
    ) -> Any:
        return await self.call(
            call.StartTransaction(connector_id, id_tag, meter_wh, at.isoformat())
        )

    async def meter(self, transaction_id: int, at: datetime, value: str, unit: str = "Wh") -> None:
        sample = {"value": value, "unit": unit}
        values = [{"timestamp": at.isoformat(), "sampledValue": [sample]}]
        await self.call(call.MeterValues(1, values, transaction_id))

    async def stop(
        self, transaction_id: int, at: datetime, meter_wh: int, id_tag: str | None = None
    ) -> Any:
        return await self.call(
            call.StopTransaction(meter_wh, at.isoformat(), transaction_id, id_tag=id_tag)
        )

    async def close(self) -> None:
        await self.socket.close()
        await self._end()

    async def drop(self) -> None:
        """Lose the connection without a word, as in a tunnel."""
        self.socket.transport.abort()
        await self._end()

    async def _end(self) -> None:
        self._listening.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._listening


async def open_socket(
    central: Central,
    identity: str = "CP1",
    *,
    operator: PartyId = OPERATOR,
    user: str | None = None,
    password: str | None = PASSWORD,
    subprotocols: tuple[str, ...] = ("ocpp1.6",),
) -> ClientConnection:
    url = central.url_of(identity, operator=operator)
    headers = {}
    if password is not None:
        pair = f"{user or identity}:{password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return await connect(
        url,
        additional_headers=headers,
        subprotocols=[Subprotocol(one) for one in subprotocols] or None,
        compression=None,
        ping_interval=None,
    )


@asynccontextmanager
async def station(
    central: Central, identity: str = "CP1", *, operator: PartyId = OPERATOR
) -> AsyncIterator[VirtualStation]:
    """A charge point that is connected and has booted."""
    virtual = VirtualStation(identity, await open_socket(central, identity, operator=operator))
    try:
        await virtual.boot()
        yield virtual
    finally:
        await virtual.close()


async def exchange(socket: ClientConnection, frame: Any) -> Any:
    """Send a frame (a text as it is, all else as JSON) and read the answer."""
    await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
    async with asyncio.timeout(10):
        return json.loads(await socket.recv())
