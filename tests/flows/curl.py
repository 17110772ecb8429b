"""Command lines of curl as our pages show them, sent to a hub in this process."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import encode_basic_auth
from httpx import AsyncClient, Response

BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^curl .*?(?=^curl |\Z)", re.MULTILINE | re.DOTALL)
FORM = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Curl:
    """What a command line of curl asks for, as far as the page uses it."""

    method: str | None = None
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    kept_as: str | None = None

    @classmethod
    def parse(cls, line: str, files: Mapping[str, bytes]) -> Curl:
        asked = cls()
        words = iter(shlex.split(line)[1:])
        for word in words:
            match word:
                case "-s":
                    continue
                case "-X":
                    asked.method = next(words)
                case "-H":
                    name, _, value = next(words).partition(": ")
                    asked.headers[name] = value
                case "-u":
                    asked.headers["Authorization"] = encode_basic_auth(*next(words).split(":"))
                case "-o":
                    asked.kept_as = next(words)
                case "-d":
                    told = next(words)
                    asked.content = files[told[1:]] if told.startswith("@") else told.encode()
                    asked.headers.setdefault("Content-Type", FORM)
                case "--data-binary":
                    asked.content = files[next(words).removeprefix("@")]
                case _:
                    assert not asked.url, f"what is {word}?"
                    asked.url = word
        return asked

    async def send(self, http: AsyncClient) -> Response:
        method = self.method or ("GET" if self.content is None else "POST")
        return await http.request(method, self.url, headers=self.headers, content=self.content)
