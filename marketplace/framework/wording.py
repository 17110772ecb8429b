"""A clause's text: a template with parameters in it, read in a room with nothing else.

A template may say parameters, choose by them and list them. It calls nothing, sets nothing, loops
in no loop and reckons nothing, so that it ends soon whatever the parameters are. What it may not do
is seen when it is published; that it cannot, is the sandbox's to see to.

A line break in a template is a blank and an empty line begins a paragraph, also in parameters: a
parameter cannot look like another clause.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Template, TemplateError, Undefined, nodes
from jinja2.filters import FILTERS
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment
from jinja2.tests import TESTS

from marketplace.framework.model import BadClause, BadModule, Module
from roaming.money import Money
from roaming.refusal import Refusal

LONGEST_TEXT = 200_000


def check(module: Module) -> None:
    """BadModule unless the template keeps to what templates may do, and to the parameters."""
    try:
        tree = _ROOM.parse(module.template)
        _check_nodes(tree, in_loop=False)
        unknown = find_undeclared_variables(tree) - set(module.properties)
        if unknown:
            name = min(unknown)
            _refuse(f"no parameter {name}", ", ".join(sorted(module.properties)) or "none")
        _compiled(module.template)
    except TemplateError as error:
        _refuse(str(error.message)[:200], "a template of Jinja2")
    except RecursionError:
        _refuse("nested too deep", "a template that can be read")


def text_of(module: Module, parameters: Mapping[str, Any]) -> str:
    """The text. A parameter that is not given is None in the template, and so are members that a
    parameter does not have. BadClause where that makes no text."""
    told = dict.fromkeys(module.properties) | dict(parameters)
    parts, length = [], 0
    try:
        for part in _compiled(module.template).generate(told):
            parts.append(part)
            length += len(part)
            if length > LONGEST_TEXT:
                break
    except _CANNOT:
        _unreadable(module, "parameters that its template can say")
    if length > LONGEST_TEXT:
        _unreadable(module, f"at most {LONGEST_TEXT} characters of text")
    return _paragraphs("".join(parts))


class _Room(SandboxedEnvironment):
    """Members of objects are those of the JSON, None where there is none; Python's own are no
    members at all."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping) and isinstance(argument, str):
            return obj.get(argument)
        return self.undefined(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        return False


def _said(value: object) -> object:
    """What stands in the text for a parameter: one line, and never a word of Python's."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, int | float | Undefined):
        return value
    raise TypeError("a contract does not say nothing, nor a list as it is")


def _money(minor: int, currency: str | None) -> str:
    """`EUR 1,234.50`"""
    money = Money(minor, currency or "")
    return f"{money.currency} {money.decimal:,f}"


def _count(number: float) -> str:
    """`1,000`; `99.95`"""
    return f"{Decimal(str(number)).normalize():,f}"


def _day(moment: str) -> str:
    """`1 March 2026, 12:00 UTC`"""
    at = datetime.fromisoformat(moment).astimezone(UTC)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC"


def _listed(texts: Sequence[Any]) -> str:
    """`one, two and three`"""
    *first, last = map(str, texts)
    return f"{', '.join(first)} and {last}" if first else last


_CANNOT = (
    *(TemplateError, Refusal, TypeError, ValueError),
    *(LookupError, ArithmeticError, RecursionError),
)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_OWN = {"money": _money, "count": _count, "day": _day, "listed": _listed}
_FILTERS = {name: FILTERS[name] for name in ("default", "join", "length", "lower")} | _OWN
_TESTS = {
    name: TESTS[name]
    for name in ("boolean", "defined", "mapping", "none", "number", "sequence", "string")
}
_OF_JINJA = {"self", "loop", "super", "caller", "varargs", "kwargs"}
_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test),
    *(nodes.Compare, nodes.Operand, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not),
)


def _room() -> _Room:
    room = _Room(
        undefined=StrictUndefined,
        finalize=_said,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
    )
    room.globals.clear()
    room.filters = dict(_FILTERS)
    room.tests = dict(_TESTS)
    return room


_ROOM = _room()


@lru_cache(maxsize=512)
def _compiled(template: str) -> Template:
    return _ROOM.from_string(template)


def _check_nodes(node: nodes.Node, *, in_loop: bool) -> None:
    for child in node.iter_child_nodes():
        if type(child) not in _ALLOWED:
            _refuse(
                f"line {child.lineno}: {type(child).__name__.lower()}",
                "parameters, if, for, and the filters and tests that are told of",
            )
        if isinstance(child, nodes.Name) and child.name in _OF_JINJA:
            _refuse(f"line {child.lineno}: {child.name}", "names of parameters")
        if isinstance(child, nodes.For) and (in_loop or child.recursive):
            _refuse(f"line {child.lineno}: a loop in a loop", "one loop at a time")
        _check_nodes(child, in_loop=in_loop or isinstance(child, nodes.For))


def _paragraphs(text: str) -> str:
    parts = (" ".join(part.split()) for part in re.split(r"\n[^\S\n]*\n", text))
    return "\n\n".join(part for part in parts if part)


def _refuse(what: str, rule: str) -> NoReturn:
    raise BadModule(
        f"the template cannot be taken: {what}", field="template", value=what, rule=rule
    )


def _unreadable(module: Module, rule: str) -> NoReturn:
    raise BadClause(
        f"{module.name} makes no text of these parameters",
        field=f"clauses.{module.name}",
        value=f"version {module.version}",
        rule=rule,
    )
