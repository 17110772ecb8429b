"""One application for each of the hub's services: hot routes past the framework, the rest in it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kit import problem
from kit.http import HotRoute
from roaming.refusal import Refusal

log = structlog.get_logger(__name__)


def operation_name(route: APIRoute) -> str:
    """What contracts and generated clients call an operation: `show-contract`."""
    return route.name.replace("_", "-")


def tie_in(app: FastAPI, *routers: APIRouter) -> None:
    """As `include_router`, which would make each route anew at the first call that passes it."""
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute), "our routers hold nothing else"
            route.operation_id = route.operation_id or operation_name(route)
        app.router.routes.extend(router.routes)


class ServiceApp:
    """`app` answers, `routers` and `hot` are what its part of the OpenAPI document is made from.

    `operations` names what a contract may allow: (method, path template, name).
    """

    def __init__(self, hot: Sequence[HotRoute], routers: Sequence[APIRouter]) -> None:
        self.hot = hot
        self.described = FastAPI(
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            generate_unique_id_function=operation_name,
        )
        problem.install(self.described)
        for route in hot:
            self.described.router.routes.append(
                Route(route.path, route.handler, methods=[route.method])
            )
        tie_in(self.described, *routers)
        self.app: ASGIApp = _past_the_framework(hot, self.described)

    @property
    def operations(self) -> list[tuple[str, str, str]]:
        """As the OpenAPI document has them, which takes half a second to write."""
        found = [(route.method, route.path, route.operation) for route in self.hot]
        for route in self.described.routes:
            if isinstance(route, APIRoute):
                assert route.operation_id is not None, "all are tied in"
                for method in sorted(route.methods or ()):
                    found.append((method, route.path_format, route.operation_id))
        return found


def _past_the_framework(hot: Sequence[HotRoute], rest: ASGIApp) -> ASGIApp:
    """Routing, middleware and dependencies cost as much as a decision: a look-up is enough."""
    quick = {(route.method, route.path): route for route in hot if "{" not in route.path}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        route = quick.get((scope.get("method", ""), scope["path"]))
        if route is None:
            await rest(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await route.handler(request)
        except Refusal as refusal:
            response = problem.refusal_response(refusal, problem.request_id_of(request))
        except Exception as error:  # noqa: BLE001  told by number, kept in the log
            bad = problem.bad_text(error)
            response = (
                problem.bug_response(request, error)
                if bad is None
                else problem.refusal_response(bad, problem.request_id_of(request))
            )
        await response(scope, receive, send)

    return app
