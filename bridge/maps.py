"""Content maps: a JMESPath expression that makes one JSON document of another.

A provider writes them, and calls run through them: so each is looked through once, when it is
attached, and bounded in what it may do with a document. Numbers are exact; what a map makes is
JSON again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from jmespath.exceptions import (
    EmptyExpressionError,
    JMESPathError,
    JMESPathTypeError,
    LexerError,
    ParseError,
)
from jmespath.functions import TYPES_MAP, Functions, signature
from jmespath.parser import Parser
from jmespath.visitor import TreeInterpreter, _Expression

from bridge.payload import write_json
from roaming.refusal import Malformed

LONGEST_EXPRESSION = 8_000
DEEPEST_EXPRESSION = 60
# What one use of a map may do: so many steps taken and values handled. Some tens of milliseconds.
MOST_STEPS = 300_000
# A text is worth one step for so many characters.
_CHARACTERS_A_STEP = 64
# Beyond this many digits before or after the point, a number is there to be expensive.
_MOST_DIGITS = 400


class BadMap(Malformed):
    """A content map that is no JMESPath expression, or one out of bounds."""


class MapFailed(Malformed):
    """A content map that could make nothing of the document that came to it."""


@dataclass(frozen=True, slots=True)
class ContentMap:
    """Make it by `read`."""

    name: str
    expression: str
    _tree: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, name: str, expression: str) -> Self:
        """`name` is what its refusals call it. Raises BadMap."""
        if len(expression) > LONGEST_EXPRESSION:
            rule = f"at most {LONGEST_EXPRESSION} characters"
            raise _bad(name, f"{len(expression)} characters", rule)
        try:
            tree = Parser().parse(expression).parsed
        except EmptyExpressionError:
            raise _bad(name, "", "a JMESPath expression") from None
        except LexerError as error:
            raise _bad(name, expression, _at(error.lexer_position, error.message)) from None
        except ParseError as error:
            raise _bad(name, expression, _at(error.lex_position, error.msg)) from None
        except (JMESPathError, ValueError) as error:
            raise _bad(name, expression, f"a JMESPath expression: {error}") from None
        except RecursionError:
            raise _bad(name, expression, _TOO_DEEP) from None
        return cls(name, expression, _looked_through(name, tree))

    def apply(self, payload: object) -> object:
        """What the map makes of a payload, which stays as it is. Raises MapFailed."""
        try:
            work = _Work()
            made = _Interpreter(work).visit(self._tree, payload)
            work.take(made)
            return made
        except JMESPathTypeError as error:
            rule = f"{error.function_name}() takes {' or '.join(error.expected_types)}"
            raise self._failed(error.actual_type, rule) from None
        except _NotJson as error:
            raise self._failed(str(error), "a map makes JSON") from None
        except _Exhausted:
            raise self._failed("…", f"at most {MOST_STEPS} steps and values") from None
        except (JMESPathError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise self._failed(type(error).__name__, "a map fits what it is given") from None

    def _failed(self, value: str, rule: str) -> MapFailed:
        return MapFailed(
            f"the content map {self.name} cannot be applied: {rule}",
            field=self.name,
            value=value,
            rule=rule,
        )


_INTEGER = re.compile(r"-?[0-9]{1,400}\Z", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][-+]?[0-9]{1,3})?\Z", re.ASCII)
_TOO_DEEP = f"an expression of at most {DEEPEST_EXPRESSION} levels"


def _bad(name: str, value: str, rule: str) -> BadMap:
    return BadMap(
        f"the content map {name} is no JMESPath expression that can be used: {rule}",
        field=name,
        value=value[:200],
        rule=rule,
    )


def _at(position: int, says: str) -> str:
    return f"a JMESPath expression; at character {position + 1}: {says}"


def _looked_through(name: str, node: Any, depth: int = 0) -> Any:
    """The tree with exact literals. Raises BadMap for functions that there are not."""
    if not isinstance(node, dict):
        return node
    if depth > DEEPEST_EXPRESSION:
        raise _bad(name, "…", _TOO_DEEP)
    children = [_looked_through(name, one, depth + 1) for one in node.get("children", ())]
    made = {**node, "children": children}
    if node["type"] == "literal":
        made["value"] = _exact(node["value"])
    elif node["type"] == "function_expression":
        _check_function(name, node["value"], len(children))
    return made


def _check_function(name: str, called: str, given: int) -> None:
    known = _Functions.FUNCTION_TABLE
    if called not in known:
        raise _bad(name, f"{called}()", "a function of JMESPath: " + ", ".join(sorted(known)))
    takes = known[called]["signature"]
    wanted = len(takes)
    if given < wanted or (given > wanted and not takes[-1].get("variadic")):
        raise _bad(name, f"{called}()", f"{called}() takes {wanted} arguments, not {given}")


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value)) if math.isfinite(value) else None
    if isinstance(value, list):
        return [_exact(one) for one in value]
    if isinstance(value, dict):
        return {key: _exact(one) for key, one in value.items()}
    return value


class _Exhausted(Exception):
    pass


class _NotJson(Exception):
    pass


class _Work:
    """What an application of a map has done so far, counted before it is done."""

    def __init__(self) -> None:
        self._left = MOST_STEPS

    def step(self, number: int = 1) -> None:
        self._left -= number
        if self._left < 0:
            raise _Exhausted

    def take(self, value: object) -> None:
        """Counts all of a value, as often as each part of it would be written."""
        waiting: list[Iterator[object]] = [iter((value,))]
        while waiting:
            for one in waiting[-1]:
                self.step()
                if isinstance(one, str):
                    self.step(len(one) // _CHARACTERS_A_STEP)
                elif isinstance(one, dict):
                    for key in one:
                        self.step(len(key) // _CHARACTERS_A_STEP)
                    waiting.append(iter(one.values()))
                    break
                elif isinstance(one, list):
                    waiting.append(iter(one))
                    break
                else:
                    _check_scalar(one)
            else:
                waiting.pop()


def _check_scalar(value: object) -> None:
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS:
            raise _NotJson("a number out of bounds")
    elif isinstance(value, int):
        if value.bit_length() > _MOST_DIGITS * 4:
            raise _NotJson("a number out of bounds")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _NotJson("a number out of bounds")
    elif value is not None:
        raise _NotJson("an expression in place of a value")


class _Interpreter(TreeInterpreter):
    """The library's own, counted: what multiplies values is counted before they are there."""

    def __init__(self, work: _Work) -> None:
        super().__init__()
        self._work = work
        self._functions = _Functions(work)

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._work.step()
        return super().visit(node, *args, **kwargs)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        sides = [self.visit(child, value) for child in node["children"]]
        self._work.take(sides)
        return super().visit_comparator(_over(node, *sides), value)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        made = self.visit(node["children"][0], value)
        if isinstance(made, list):
            self._work.step(sum(len(one) for one in made if isinstance(one, list)))
        return super().visit_flatten(_over(node, made), value)

    def visit_multi_select_dict(self, node: Any, value: Any) -> Any:
        made = super().visit_multi_select_dict(node, value)
        self._work.take(made)
        return made

    def visit_multi_select_list(self, node: Any, value: Any) -> Any:
        made = super().visit_multi_select_list(node, value)
        self._work.take(made)
        return made

    def visit_slice(self, node: Any, value: Any) -> Any:
        self._work.step(len(value) if isinstance(value, list) else 0)
        return super().visit_slice(node, value)


def _over(node: Any, *values: object) -> Any:
    """The node with values in place of what would be worked out for them."""
    literals = [{"type": "literal", "value": one, "children": []} for one in values]
    return {**node, "children": literals}


class _Functions(Functions):
    """The library's functions, for exact numbers, and counted. Two of its own methods, for which
    it has no other hook, know of no Decimal."""

    def __init__(self, work: _Work) -> None:
        self._work = work

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        for one in resolved_args:
            if not isinstance(one, _Expression):
                self._work.take(one)
        return super().call_function(function_name, resolved_args)

    def _get_allowed_pytypes(self, types: list[str]) -> tuple[list[str], list[tuple[str, ...]]]:
        allowed, inner = super()._get_allowed_pytypes(types)  # type: ignore[misc]
        if "float" in allowed:
            allowed.append("Decimal")
        return allowed, [(*one, "Decimal") if "float" in one else one for one in inner]

    def _convert_to_jmespath_type(self, pyobject: str) -> str:
        return "number" if pyobject == "Decimal" else TYPES_MAP.get(pyobject, "unknown")

    @signature({"types": ["array-number"]})
    def _func_avg(self, arg: list[Any]) -> Decimal | None:
        return Decimal(sum(arg)) / len(arg) if arg else None

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        self._work.step(len(separator) * len(array) // _CHARACTERS_A_STEP)
        return separator.join(array)

    @signature({"types": []})
    def _func_to_number(self, arg: object) -> int | Decimal | None:
        if isinstance(arg, int | Decimal) and not isinstance(arg, bool):
            return arg
        if not isinstance(arg, str) or not _NUMBER.match(arg):
            return None
        try:
            return int(arg) if _INTEGER.match(arg) else Decimal(arg)
        except InvalidOperation:
            return None

    @signature({"types": []})
    def _func_to_string(self, arg: object) -> str:
        return arg if isinstance(arg, str) else write_json(arg).decode()

    @signature({"types": []})
    def _func_type(self, arg: object) -> str:
        return self._convert_to_jmespath_type(type(arg).__name__)
