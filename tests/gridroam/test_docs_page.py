"""The API for people: all of it, on a page that asks nobody for anything."""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser
from typing import Any

from gridroam import docs_page
from tests.hub import Hub

LOADING = {"script", "link", "img", "iframe", "object", "embed", "source", "video", "audio"}


class Seen(HTMLParser):
    """What a browser would fetch, and what it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag in LOADING or "src" in told:
            self.fetched.append(tag)
        if tag == "a":
            self.links.append(told["href"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(page: str) -> Seen:
    reader = Seen()
    reader.feed(page)
    return reader


async def test_it_lists_every_operation_and_needs_no_network(hub: Hub) -> None:
    answer = await hub.http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    page = seen(answer.text)
    assert page.fetched == []
    assert page.links == ["/openapi.json"]
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    whole = (await hub.http.get("/openapi.json")).json()
    for path, item in whole["paths"].items():
        for method, operation in item.items():
            assert f"{method.upper()}{path}" in page.text
            assert operation["summary"] in page.text


async def test_an_operation_shows_what_it_takes_and_what_it_answers(hub: Hub) -> None:
    page = (await hub.http.get("/docs")).text
    begin = page.index("<details id='authorise'>")
    shown = unescape(page[begin : page.index("</details>", begin)])
    assert "evse_id: string" in shown
    assert 'type: "rfid" or "contract-id" or "plug-and-charge" or "remote"' in shown
    assert '"accepted" or "refused"' in shown


def test_nothing_in_a_document_becomes_markup() -> None:
    hostile = "<script>alert(1)</script>"
    document: dict[str, Any] = {
        "info": {"title": hostile, "description": hostile},
        "paths": {
            f"/{hostile}": {
                "get": {
                    "operationId": f"'{hostile}",
                    "summary": hostile,
                    "description": hostile,
                    "tags": [hostile],
                    "parameters": [
                        {"name": hostile, "in": "query", "description": hostile, "schema": {}}
                    ],
                    "requestBody": {
                        "content": {
                            hostile: {"schema": {"properties": {hostile: {"enum": [hostile]}}}}
                        }
                    },
                    "responses": {hostile: {"description": hostile}},
                }
            }
        },
    }
    assert seen(docs_page.page(document)).fetched == []


def test_a_shape_that_holds_itself_is_told_to_a_depth_and_no_further() -> None:
    document: dict[str, Any] = {
        "info": {"title": "Trees"},
        "paths": {
            "/tree": {
                "get": {
                    "responses": {
                        "200": {
                            "content": {
                                "application/json": {
                                    "schema": {"$ref": "#/components/schemas/Tree"}
                                }
                            }
                        }
                    }
                }
            }
        },
        "components": {
            "schemas": {
                "Tree": {
                    "properties": {
                        "branches": {
                            "type": "array",
                            "items": {"$ref": "#/components/schemas/Tree"},
                        }
                    }
                }
            }
        },
    }
    assert docs_page.page(document).count("branches?: list of Tree") == docs_page.DEPTH
