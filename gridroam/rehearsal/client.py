"""A partner's programme in a replay: gets its access token and calls the hub over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from gridroam.exits import WorkFailed
from kit.encoding import encode_json


class CallFailed(WorkFailed):
    """The hub said no to something that a replay needs; its problem document says why."""


class Partner:
    """One party's client id and secret, and a token that is renewed before it runs out."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, client_id: str, client_secret: str
    ) -> None:
        self._session = session
        self._url = url
        self._basic = aiohttp.encode_basic_auth(client_id, client_secret)
        self._token = ""
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (200, 201, 202, 204),
    ) -> Any:
        """The answer's JSON, or CallFailed. `body` may be bytes that are already encoded."""
        content = body if isinstance(body, bytes) else None if body is None else encode_json(body)
        sent = {
            "Authorization": f"Bearer {await self._fresh_token()}",
            "Content-Type": "application/json",
            **(headers or {}),
        }
        async with self._session.request(
            method, self._url + path, data=content, headers=sent
        ) as answer:
            told = await answer.read()
            if answer.status not in accept:
                raise CallFailed(f"{method} {path}: {answer.status} {told[:1000].decode()}")
            return msgspec.json.decode(told) if told else None

    async def _fresh_token(self) -> str:
        if time.monotonic() < self._renew_at:
            return self._token
        async with self._renewing:
            if time.monotonic() >= self._renew_at:
                await self._renew()
        return self._token

    async def _renew(self) -> None:
        async with self._session.post(
            f"{self._url}/oauth/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": self._basic},
        ) as answer:
            told = msgspec.json.decode(await answer.read())
            if answer.status != 200:
                raise CallFailed(f"no access token: {answer.status} {told}")
            self._token = told["access_token"]
            self._renew_at = time.monotonic() + told["expires_in"] * 0.8
