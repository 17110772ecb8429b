"""A virtual charge point: the `ocpp` package's own client, so that two implementations must agree.

It knows of a charge what the source of the replay knows, its start, end and energy, and reports no
meter reading that nobody took: one at the start and one at the end.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import datetime
from typing import Any

from ocpp.v16 import ChargePoint as OcppChargePoint
from ocpp.v16 import call, datatypes
from ocpp.v16.enums import (
    AuthorizationStatus,
    ChargePointErrorCode,
    ChargePointStatus,
    DataTransferStatus,
    Measurand,
    ReadingContext,
    RegistrationStatus,
    UnitOfMeasure,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from gridroam.exits import WorkFailed
from gridroam.rehearsal.inputs import PlayedCharge

VENDOR = "org.gridroam"
CONNECTOR = 1


class StationRefused(WorkFailed):
    """The central system does not let this charge point in; the status is HTTP's."""

    def __init__(self, identity: str, status: int) -> None:
        super().__init__(f"charge point {identity}: handshake refused with {status}")
        self.status = status


class NoConnection(WorkFailed):
    """The charge point got no answer to its handshake."""


class VirtualChargePoint:
    """One station with one connector, on one connection, playing its charges in order."""

    def __init__(self, identity: str, url: str, password: str) -> None:
        self._identity = identity
        self._url = f"{url}/{identity}"
        self._password = password
        self._register_wh = 0
        self._transactions: dict[int, int] = {}
        self._meter_start_wh: dict[int, int] = {}
        self._socket: ClientConnection | None = None
        self._station: Any = None
        self._listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open the socket and boot. StationRefused when the handshake is refused."""
        try:
            self._socket = await connect(
                self._url.replace("http", "ws", 1).replace(
                    "://", f"://{self._identity}:{self._password}@", 1
                ),
                subprotocols=["ocpp1.6"],  # type: ignore[list-item]
                compression=None,
                ping_interval=None,
                open_timeout=60,
            )
        except InvalidStatus as refused:
            raise StationRefused(self._identity, refused.response.status_code) from None
        except (InvalidHandshake, OSError) as error:
            raise NoConnection(f"charge point {self._identity} cannot connect: {error}") from error
        self._station = OcppChargePoint(self._identity, self._socket, response_timeout=120)
        self._listening = asyncio.create_task(self._station.start())
        booted = await self._call(call.BootNotification("Rehearsal", "Gridroam"))
        assert booted.status == RegistrationStatus.accepted

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._listening

    async def start(self, charge: PlayedCharge) -> str | None:
        """Hold the card to the reader and begin. The reason when it is refused, else None."""
        meter_start_wh = self._register_wh
        # The register runs on whether or not the hub lets this charge happen: a replay that is
        # played again must send the same readings.
        self._register_wh += max(charge.energy_wh, 0)
        await self._status(ChargePointStatus.preparing, charge.start)
        authorised = await self._call(call.Authorize(charge.token_uid))
        if authorised.id_tag_info["status"] != AuthorizationStatus.accepted:
            await self._status(ChargePointStatus.available, charge.start)
            return await self._reason(charge)
        started = await self._call(
            call.StartTransaction(
                connector_id=CONNECTOR,
                id_tag=charge.token_uid,
                meter_start=meter_start_wh,
                timestamp=_shown(charge.start),
            )
        )
        self._transactions[charge.line] = started.transaction_id
        self._meter_start_wh[charge.line] = meter_start_wh
        await self._status(ChargePointStatus.charging, charge.start)
        return None

    async def stop(self, charge: PlayedCharge) -> None:
        """Report the last reading and end; nothing for a charge that was refused."""
        transaction_id = self._transactions.pop(charge.line, None)
        if transaction_id is None:
            return
        meter_stop_wh = self._meter_start_wh.pop(charge.line) + charge.energy_wh
        await self._call(
            call.MeterValues(
                connector_id=CONNECTOR,
                transaction_id=transaction_id,
                meter_value=[
                    datatypes.MeterValue(
                        timestamp=_shown(charge.end),
                        sampled_value=[
                            datatypes.SampledValue(
                                value=str(meter_stop_wh),
                                context=ReadingContext.transaction_end,
                                measurand=Measurand.energy_active_import_register,
                                unit=UnitOfMeasure.wh,
                            )
                        ],
                    )
                ],
            )
        )
        await self._call(
            call.StopTransaction(
                meter_stop=meter_stop_wh,
                timestamp=_shown(charge.end),
                transaction_id=transaction_id,
                id_tag=charge.token_uid,
            )
        )
        await self._status(ChargePointStatus.available, charge.end)

    async def _reason(self, charge: PlayedCharge) -> str:
        told = await self._call(
            call.DataTransfer(VENDOR, message_id="LastRefusal", data=charge.token_uid)
        )
        if told.status != DataTransferStatus.accepted:
            return "unexplained"
        return str(json.loads(told.data)["reason"])

    async def _status(self, status: ChargePointStatus, at: datetime) -> None:
        await self._call(
            call.StatusNotification(
                connector_id=CONNECTOR,
                error_code=ChargePointErrorCode.no_error,
                status=status,
                timestamp=_shown(at),
            )
        )

    async def _call(self, message: Any) -> Any:
        return await self._station.call(message, suppress=False)


def _shown(at: datetime) -> str:
    return at.isoformat()
