"""Documents are read beside the loop: few at once, not for ever, and no failure is lost."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from bridge.document import BadDocument, Document, Kind
from marketplace.services.changes import with_interface
from marketplace.services.reader import Aside, DocumentReader, TooBusy
from marketplace.services.upload import ZIP, document_of
from tests.marketplace.services.test_model import SERVICE
from tests.marketplace.services.test_upload import zipped

LONG_S = 30.0
DATA = Path(__file__).parents[2] / "bridge/data"


async def test_what_the_work_returns_or_raises_comes_back() -> None:
    aside = Aside()
    assert await aside.run(lambda: threading.current_thread().daemon) is True

    def refuse() -> None:
        raise BadDocument("no")

    def dig() -> None:
        dig()

    with pytest.raises(BadDocument, match="no"):
        await aside.run(refuse)
    with pytest.raises(BadDocument, match="too deeply"):
        await aside.run(dig)
    with pytest.raises(ZeroDivisionError):
        await aside.run(lambda: 1 // 0)


async def test_so_many_at_once_and_the_next_waits_for_a_place() -> None:
    aside = Aside(at_once=2, within_s=LONG_S)
    goes_on = threading.Event()
    running: list[int] = []

    def work(number: int) -> int:
        running.append(number)
        goes_on.wait(LONG_S)
        return number

    tasks = [asyncio.create_task(aside.run(lambda n=n: work(n))) for n in range(5)]  # type: ignore[misc]
    async with asyncio.timeout(LONG_S):
        while len(running) < 2:  # noqa: ASYNC110  another thread's doing
            await asyncio.sleep(0.01)
    assert len(running) == 2
    goes_on.set()
    assert await asyncio.gather(*tasks) == list(range(5))


async def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends() -> None:
    aside = Aside(at_once=1, within_s=0.05)
    goes_on = threading.Event()
    with pytest.raises(BadDocument, match="too long"):
        await aside.run(lambda: goes_on.wait(LONG_S))
    with pytest.raises(TooBusy):
        await aside.run(lambda: True)
    goes_on.set()
    async with asyncio.timeout(LONG_S):
        while True:
            try:
                assert await aside.run(lambda: True)
            except TooBusy:
                continue
            break


async def test_a_caller_that_goes_away_leaves_its_place_to_the_next() -> None:
    aside = Aside(at_once=1, within_s=LONG_S)
    began, goes_on = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        goes_on.wait(LONG_S)

    task = asyncio.create_task(aside.run(work))
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    goes_on.set()
    assert await aside.run(lambda: 1) == 1


async def test_what_no_contract_could_name_is_no_operation() -> None:
    answers = '{"200": {"description": "OK"}}'
    methods = ", ".join(
        f'"{method}": {{"operationId": "{method}It", "responses": {answers}}}'
        for method in ("get", "head", "options", "delete")
    )
    content = (
        '{"openapi": "3.1.0", "info": {"title": "x", "version": "1"},'
        f' "paths": {{"/x": {{{methods}}}}}}}'
    )
    document = Document(Kind.OPENAPI, "x.json", {"x.json": content.encode()})
    found = await DocumentReader().operations(document)
    assert [(one.name, one.method, one.path) for one in found] == [
        ("getIt", "GET", "/x"),
        ("deleteIt", "DELETE", "/x"),
    ]


async def test_documents_as_partners_have_them_give_operations_that_the_catalogue_can_keep() -> (
    None
):
    reader = DocumentReader()
    folder = DATA / "ochp-1.4"
    files = [*folder.rglob("*.wsdl"), *folder.rglob("*.xsd")]
    archive = zipped([(str(one.relative_to(folder)), one.read_bytes()) for one in files])
    openapi = DATA / "roaming-exchange.openapi.yaml"
    soap = await reader.operations(document_of(archive, ZIP, None))
    rest = await reader.operations(document_of(openapi.read_bytes(), "application/yaml", None))
    assert ("SetRoamingAuthorisationList", "POST") in {(one.name, one.method) for one in soap}
    assert {one.path for one in soap} == {f"/{one.name}" for one in soap}
    assert len(rest) > 10
    for operations in (soap, rest):
        assert with_interface(SERVICE, b"digest", operations).operations == tuple(operations)
