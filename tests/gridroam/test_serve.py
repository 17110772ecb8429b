"""`gridroam serve` as its operator knows it: one line when it is ready, order at its end."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gridroam import office
from roaming.party import PartyId
from tests import certificates
from tests.certificates import Made, authority, caller, trusting
from tests.gridroam.processes import (
    Serving,
    alive,
    gridroam,
    postmaster_of,
    serving,
    started,
    until,
)
from tests.hub import server
from tests.kit.test_tracing import spans

OPERATOR = PartyId("FR*PD1")


async def status_of(url: str, path: str, headers: Mapping[str, str] | None = None) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url + path, headers=headers, allow_redirects=False) as answer,
    ):
        await answer.read()
        return answer.status


async def token_of(hub: Serving, database_url: str, home: Path) -> str:
    """An operator that is new on this hub gets a token from it."""
    added = await office.add_partner(home, database_url, OPERATOR, ["evse-operator"], "Point 1")
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{hub.url}/oauth/token",
            data={"grant_type": "client_credentials"},
            headers={
                "Authorization": aiohttp.encode_basic_auth(added.client_id, added.client_secret)
            },
        ) as answer,
    ):
        told = await answer.json()
        assert answer.status == 200, told
        return str(told["access_token"])


def children_of(pid: int) -> set[int]:
    return {
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    }


async def test_a_hub_on_its_own_postgresql_says_one_line_and_stops_what_it_started(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    async with serving("--home", home, tmp_path=tmp_path) as hub:
        assert await status_of(hub.url, "/health/ready") == 200
        server = postmaster_of(home)
        assert server is not None

        second = await gridroam("serve", "--port", "0", "--home", home, tmp_path=tmp_path)
        assert second.code == 2
        assert f"a hub already runs on {home} (process {hub.pid})" in second.complaint

        ended = await hub.end(signal.SIGTERM)
    # Nothing but the one line was ever said on standard output.
    assert (ended.code, ended.out) == (0, "")
    await until(lambda: not alive(server))

    # The home is free again, and so is whatever the second start needs.
    async with serving("--home", home, tmp_path=tmp_path) as again:
        assert (await again.end(signal.SIGINT)).code == 0


async def test_a_port_that_is_taken_is_named(tmp_path: Path, hub_database_url: str) -> None:
    async with serving(
        "--home", tmp_path / "one", "--database-url", hub_database_url, tmp_path=tmp_path
    ) as hub:
        second = await gridroam(
            *("serve", "--port", str(hub.port), "--home", tmp_path / "two"),
            *("--database-url", hub_database_url),
            tmp_path=tmp_path,
        )
        assert second.code == 2
        assert second.complaint.startswith(
            f"--port: cannot listen on 127.0.0.1:{hub.port}: Address already in use"
        )


async def test_a_call_under_way_is_finished_and_no_other_is_taken(
    tmp_path: Path, hub_database_url: str
) -> None:
    home = tmp_path / "home"
    async with serving(
        "--home", home, "--database-url", hub_database_url, tmp_path=tmp_path
    ) as hub:
        body = b"grant_type=client_credentials"
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(
            b"POST /oauth/token HTTP/1.1\r\nHost: hub\r\nConnection: keep-alive\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body[:10])
        await writer.drain()
        # Answered on another connection, so the first half has been taken in before.
        assert await status_of(hub.url, "/health/live") == 200

        hub.process.send_signal(signal.SIGTERM)
        await until(lambda: refuses(hub.port))
        writer.write(body[10:])
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 401 ")
        writer.close()
        ended = await hub.done()
    assert (ended.code, ended.out) == (0, "")


async def refuses(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_an_open_page_does_not_keep_the_hub_from_ending(
    tmp_path: Path, hub_database_url: str
) -> None:
    async with (
        serving(
            "--home", tmp_path / "home", "--database-url", hub_database_url, tmp_path=tmp_path
        ) as hub,
        aiohttp.ClientSession() as session,
        session.get(f"{hub.url}/console/events") as stream,
    ):
        assert await stream.content.readline() != b""
        hub.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            await stream.content.read()
        assert (await hub.done()).code == 0


async def test_told_to_end_while_it_starts_it_takes_back_what_it_began(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with started(
        "serve", "--port", "0", "--home", home, errors=tmp_path / "stderr"
    ) as starting:
        await until(lambda: postmaster_of(home) is not None)
        ended = await starting.end(signal.SIGTERM)
    assert (ended.code, ended.out) == (0, "")
    assert postmaster_of(home) is None


async def test_two_workers_share_one_port_and_end_together(
    tmp_path: Path, hub_database_url: str
) -> None:
    home = tmp_path / "home"
    async with serving(
        *("--home", home, "--database-url", hub_database_url, "--workers", "2"), tmp_path=tmp_path
    ) as hub:
        workers = children_of(hub.pid)
        assert len(workers) == 2
        token = await token_of(hub, hub_database_url, home)
        # A token of one is good at the other: every connection may meet either.
        headers = {"Authorization": f"Bearer {token}"}
        for _ in range(8):
            assert await status_of(hub.url, "/marketplace/partners", headers) == 200
        ended = await hub.end(signal.SIGTERM)
    assert (ended.code, ended.out) == (0, "")
    assert [pid for pid in workers if alive(pid)] == []


async def test_a_dead_worker_ends_the_hub_and_a_dead_supervisor_its_workers(
    tmp_path: Path, hub_database_url: str
) -> None:
    options = ("--home", tmp_path / "home", "--database-url", hub_database_url, "--workers", "2")
    async with serving(*options, tmp_path=tmp_path) as hub:
        workers = children_of(hub.pid)
        os.kill(min(workers), signal.SIGKILL)
        ended = await hub.done()
        assert ended.code == 1
        assert ended.err.splitlines()[-1].startswith("gridroam: a worker process ended by itself")
        assert [pid for pid in workers if alive(pid)] == []
    async with serving(*options, tmp_path=tmp_path) as hub:
        workers = children_of(hub.pid)
        hub.process.kill()
        await until(lambda: not any(alive(pid) for pid in workers))


@pytest.mark.parametrize(
    ("only", "here", "elsewhere"),
    [
        (
            "marketplace",
            "/marketplace/partners",
            ["/services/clearing-house/cdrs", "/console/", "/ocpp/FR-PD1/X", "/central-system/x"],
        ),
        (
            "gateway,clearinghouse",
            "/services/clearing-house/cdrs",
            ["/marketplace/partners", "/console/", "/ocpp/FR-PD1/X"],
        ),
    ],
)
async def test_parts_that_do_not_run_here_are_404(
    tmp_path: Path, hub_database_url: str, only: str, here: str, elsewhere: list[str]
) -> None:
    home = tmp_path / "home"
    async with serving(
        *("--home", home, "--database-url", hub_database_url, "--only", only), tmp_path=tmp_path
    ) as hub:
        headers = {"Authorization": f"Bearer {await token_of(hub, hub_database_url, home)}"}
        assert await status_of(hub.url, "/health/ready") == 200
        await until(lambda: is_met(hub.url, here, headers))
        for path in elsewhere:
            assert await status_of(hub.url, path, headers) == 404, path


async def is_met(url: str, path: str, headers: Mapping[str, str]) -> bool:
    # The contract that a newcomer gets reaches the gateway by a notice.
    return await status_of(url, path, headers) == 200


async def test_a_part_that_does_not_exist_is_named(tmp_path: Path) -> None:
    done = await gridroam(
        "serve", "--only", "gateway,bakery", "--home", tmp_path, tmp_path=tmp_path
    )
    assert done.code == 2
    assert done.complaint.startswith("--only: there is no part 'bakery' (gateway, marketplace, ")


async def test_logs_are_json_line_by_line_and_hold_no_secret(
    tmp_path: Path, hub_database_url: str
) -> None:
    home = tmp_path / "home"
    async with serving(
        *("--home", home, "--database-url", hub_database_url, "--log-format", "json"),
        *("--workers", "2"),
        tmp_path=tmp_path,
    ) as hub:
        token = await token_of(hub, hub_database_url, home)
        assert await status_of(hub.url, "/nowhere", {"Authorization": f"Bearer {token}x"}) == 401
        ended = await hub.end()
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert len(lines) >= 4
    for line in lines:
        assert {"event", "level", "timestamp"} <= set(line)
    password = hub_database_url.split(":")[2].split("@")[0]
    assert len(password) > 10
    assert password not in ended.err
    assert token[:40] not in ended.err


async def test_a_call_is_told_to_a_collector_below_its_callers_span(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def took(_: web.BaseRequest) -> web.Response:
        return web.Response(content_type="application/x-protobuf")

    trace, above = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
    async with server(took) as collector:
        place = ("--home", tmp_path / "home", "--database-url", hub_database_url)
        told = ("--otlp-endpoint", collector.url, "--trace-ratio", "0")
        async with serving(*place, *told, tmp_path=tmp_path) as hub:
            for traceparent in (f"00-{trace}-{above}-01", f"00-{trace}-{above}-00", None):
                headers = {} if traceparent is None else {"traceparent": traceparent}
                assert await status_of(hub.url, "/services/search-evse/evses", headers) == 401
            # What the collector has not got yet, it gets at the end.
            assert (await hub.end(signal.SIGTERM)).code == 0
        [span] = spans(collector)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, above)
    assert span.span_id.hex() != above


async def test_over_tls_a_token_is_good_with_its_certificate_alone_in_every_process(
    tmp_path: Path, hub_database_url: str
) -> None:
    root, partners = authority("Root"), authority("Partners")
    own, other = caller("Own", partners), caller("Other", partners)
    certificate, key = certificates.server(root).files(tmp_path)
    client_ca = tmp_path / "partners.pem"
    client_ca.write_text(partners.pem)
    home = tmp_path / "home"
    arguments: list[str | Path] = [
        *("serve", "--port", "0", "--home", home, "--database-url", hub_database_url),
        *("--workers", "2", "--tls-certificate", certificate, "--tls-key", key),
        *("--client-ca", client_ca),
    ]
    async with started(*arguments, errors=tmp_path / "hub.stderr") as hub:
        url = (await hub.line()).removeprefix("ready ")
        assert url.startswith("https://127.0.0.1:"), hub.err

        async def ask(
            method: str, path: str, shows: Made | None = None, **sent: Any
        ) -> tuple[int, Any]:
            # A connection of its own each time, so that either process may take it.
            context = trusting(root, shows, tmp_path)
            async with (
                aiohttp.ClientSession() as session,
                session.request(method, url + path, ssl=context, **sent) as answer,
            ):
                return answer.status, await answer.json(content_type=None)

        grant = {"grant_type": "client_credentials"}
        added = await office.add_partner(home, hub_database_url, OPERATOR, ["evse-operator"], "One")
        basic = {"Authorization": aiohttp.encode_basic_auth(added.client_id, added.client_secret)}
        _, told = await ask("POST", "/oauth/token", data=grant, headers=basic)
        bearer = {"Authorization": f"Bearer {told['access_token']}"}
        path = f"/marketplace/partners/{OPERATOR}/clients"
        made = {"certificates": [own.pem]}
        _, client = await ask("POST", path, json=made, headers=bearer)
        form = {**grant, "client_id": client["client_id"]}
        for shows in (None, other):
            status, told = await ask("POST", "/oauth/token", shows, data=form)
            assert (status, told["error"]) == (401, "invalid_client")
        status, told = await ask("POST", "/oauth/token", own, data=form)
        assert status == 200
        bound = {"Authorization": f"Bearer {told['access_token']}"}
        search, contracts = "/services/search-evse/evses", "/marketplace/contracts"
        for _ in range(4):
            for place in (search, contracts):
                assert (await ask("GET", place, own, headers=bound))[0] == 200
                for thiefs in (None, other):
                    status, told = await ask("GET", place, thiefs, headers=bound)
                    assert (status, told["value"]) == (401, "certificate-mismatch")
        # What comes in a header is believed of proxies that are named, and here none is.
        header = {"Client-Cert": f":{base64.b64encode(own.der).decode()}:"}
        assert (await ask("GET", search, None, headers={**bound, **header}))[0] == 401
        stranger = caller("Own", authority("Partners"))
        with pytest.raises(aiohttp.ClientError):
            await ask("GET", search, stranger, headers=bound)
        metadata = "/.well-known/oauth-authorization-server"
        _, told = await ask("GET", metadata)
        assert told["issuer"] == url
        assert told["tls_client_certificate_bound_access_tokens"] is True
        assert (await hub.end()).code == 0


async def test_a_proxy_is_believed_where_it_is_named_in_every_process(
    tmp_path: Path, hub_database_url: str
) -> None:
    # No certificate: whoever believes the sender refuses it, anybody else takes no notice.
    header = {"Client-Cert": ":AAAA:"}
    for named, status in (("127.0.0.0/8", 422), ("10.0.0.7", 200)):
        async with serving(
            *("--home", tmp_path / "home", "--database-url", hub_database_url),
            *("--workers", "2", "--trusted-proxy", named),
            tmp_path=tmp_path,
        ) as hub:
            for _ in range(6):
                assert await status_of(hub.url, "/health/live", header) == status
                assert await status_of(hub.url, "/health/live") == 200
            assert (await hub.end()).code == 0


async def test_tls_with_files_that_do_not_serve_starts_nothing(tmp_path: Path) -> None:
    certificate, key = certificates.server(authority()).files(tmp_path)
    nothing = tmp_path / "nothing.pem"
    for options, says in (
        (("--tls-certificate", certificate), "TLS needs a certificate and its key"),
        (("--tls-certificate", nothing, "--tls-key", key), "--tls-certificate"),
        (("--trusted-proxy", "proxy.example"), "--trusted-proxy"),
    ):
        done = await gridroam(
            "serve", "--port", "0", "--home", tmp_path / "home", *options, tmp_path=tmp_path
        )
        assert done.code == 2
        assert says in done.complaint
