"""OpenAPI documents for tests: small ones by hand, and large ones as partners have them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bridge.document import Document, Kind
from bridge.openapi import RestInterface

HERE = Path(__file__).parent / "data"
OURS = HERE / "roaming-exchange.openapi.yaml"
_WIRE = Path(os.environ.get("GRIDROAM_WIRE", Path(__file__).parents[3] / "shared/wire"))
_OICP = _WIRE / "roaming/oicp-2.3"

# The OICP documents have no licence and so are not here; they are read wherever they lie.
LARGE = [OURS, *sorted(_OICP.glob("*.openapi.yaml"))]


def document(files: dict[str, str | bytes], root: str | None = None) -> Document:
    content = {name: one if isinstance(one, bytes) else one.encode() for name, one in files.items()}
    return Document(Kind.OPENAPI, root or next(iter(files)), content)


def read(text: str | bytes, **more: str | bytes) -> RestInterface:
    return RestInterface.read(document({"api.yaml": text, **more}))


def read_file(path: Path) -> RestInterface:
    return read(path.read_bytes())


def with_schema(schema: Any, version: str = "3.1.0", **schemas: Any) -> RestInterface:
    """One operation, `Send`, that takes a body of this schema and gives the same."""
    content = {"application/json": {"schema": schema}}
    said = {
        "openapi": version,
        "info": {"title": "One", "version": "1"},
        "paths": {
            "/send": {
                "post": {
                    "operationId": "Send",
                    "requestBody": {"required": True, "content": content},
                    "responses": {"200": {"description": "", "content": content}},
                }
            }
        },
        "components": {"schemas": schemas},
    }
    return read(json.dumps(said))
