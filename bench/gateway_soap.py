"""What it costs that two sides do not speak alike: a call over the SOAP bridge against a plain one.

The same question and answer, four EVSEs, each way: a JSON caller and a SOAP provider by its WSDL, a
SOAP caller and a REST provider by its OpenAPI document. Both, and the plain call, are taken by the
same gateway in the same rounds, each under a contract with a quota.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench.gateway_call import UNIT, compared
from bench.gateway_servers import REST, SOAP, command, ours
from bench.gateway_world import CALLS_A_DAY, CONTRACTS_EACH, PARTNERS, Caller, Providers
from bench.processes import cpu_us_a_call, free_port, load_well, running
from bench.row import Options, Row

NAME = "gateway-soap"

LIMIT = "the same call between two sides that both speak REST"
AIM = "aim: <= 4 x"
_PLAIN, _TO_SOAP, _TO_REST = "plain", "JSON caller, SOAP provider", "SOAP caller, REST provider"


async def run(options: Options) -> list[Row]:
    requests = 1_000 if options.quick else 5_000
    rounds = 1 if options.quick else 15
    caller = Caller(options.scratch)
    async with AsyncExitStack() as stack:
        listening = Providers(rest=free_port(), soap=free_port())
        for role, port in ((REST, listening.rest), (SOAP, listening.soap)):
            await stack.enter_async_context(running(command(role, port), port))
        pid, port = await stack.enter_async_context(ours(options, caller, listening))
        servers = {
            _PLAIN: (pid, caller.plain(port)),
            _TO_SOAP: (pid, caller.json_to_soap(port)),
            _TO_REST: (pid, caller.soap_to_rest(port)),
        }
        for _, asked in servers.values():
            await load_well(asked, requests=requests)
        us = await cpu_us_a_call(servers, requests=requests, rounds=rounds)
    params = {
        "partners": PARTNERS,
        "contracts": PARTNERS * CONTRACTS_EACH,
        "quota_a_day": CALLS_A_DAY,
        "requests": requests,
        "rounds": rounds,
        "at_once": 16,
    }
    return [
        compared(
            us[way],
            us[_PLAIN],
            name=NAME,
            unit=f"{UNIT}: {way} ({AIM})",
            limit=LIMIT,
            params=params,
        )
        for way in (_TO_SOAP, _TO_REST)
    ]
