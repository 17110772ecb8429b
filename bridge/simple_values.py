"""XSD's simple types: a value of JSON to the text of an element or attribute, and back.

| XSD | JSON |
|---|---|
| string and its kin, anyURI, dates, times, durations | string, checked |
| boolean | true, false |
| integer and its kin | number without fraction, within the type's range |
| decimal | number, kept digit by digit |
| float, double | number, or "INF", "-INF", "NaN" |
| base64Binary, hexBinary | string in the same encoding, checked |
| QName | "{namespace}name" |
| list | array |
| union | the first member type that takes it |
"""

from __future__ import annotations

import base64
import binascii
import re
from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation

from bridge.payload import BadPayload

type_of_check = Callable[[object, str], None]

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SPECIAL_FLOATS = frozenset({"INF", "-INF", "NaN"})
_MOST_DIGITS = 400


@dataclass(slots=True)
class Simple:
    """A simple type. `text` and `value` are each other's inverse on what the type allows."""

    kind: str
    text: Callable[[object], str]
    value: Callable[[str], object]
    collapses: bool = True
    checks: tuple[type_of_check, ...] = ()
    # Of these `checks`, those that hold for what a provider answers, too.
    firm_checks: tuple[type_of_check, ...] = ()
    schema: dict[str, object] = field(default_factory=dict)

    def write(self, value: object) -> str:
        """The text, not yet escaped. Raises BadPayload."""
        text = self.text(value)
        for check in self.checks:
            check(value, text)
        return text

    def read(self, text: str, strict: bool) -> object:
        """The value. Not `strict`: what a provider answered. Raises BadPayload."""
        if self.collapses:
            text = " ".join(text.split())
        value = self.value(text)
        for check in self.checks if strict else self.firm_checks:
            check(value, text)
        return value


def wrong(value: object, rule: str) -> BadPayload:
    return BadPayload("a value is not of its type", value=value, rule=rule)


def _text_of_string(value: object) -> str:
    if not isinstance(value, str):
        raise wrong(value, "a string")
    if _CONTROL.search(value):
        raise wrong(value, "a string without control characters, which XML cannot carry")
    return value


def _as_it_is(text: str) -> object:
    return text


def _text_of_boolean(value: object) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise wrong(value, "true or false")


def _boolean(text: str) -> object:
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    raise wrong(text, "true or false")


def _text_of_integer(value: object) -> str:
    if type(value) is int and -(10**_MOST_DIGITS) < value < 10**_MOST_DIGITS:
        return str(value)
    raise wrong(value, "a number without fraction")


def _integer(text: str) -> object:
    if _INTEGER.fullmatch(text):
        return int(text)
    raise wrong(text, "a number without fraction")


def _text_of_decimal(value: object) -> str:
    if type(value) is int:
        return _text_of_integer(value)
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and value.is_finite():
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and abs(exponent) + len(value.as_tuple().digits) < 400:
            return f"{value:f}"
    raise wrong(value, f"a number of at most {_MOST_DIGITS} digits")


def _decimal(text: str) -> object:
    if len(text) <= _MOST_DIGITS and _DECIMAL.fullmatch(text):
        return Decimal(text)
    raise wrong(text, f"a decimal number of at most {_MOST_DIGITS} digits")


def _text_of_float(value: object) -> str:
    if type(value) in (int, float, Decimal):
        text = str(value)
        if _FLOAT.fullmatch(text) and len(text) <= _MOST_DIGITS:
            return text
    if value in _SPECIAL_FLOATS:
        return str(value)
    raise wrong(value, 'a number, or "INF", "-INF" or "NaN"')


def _float(text: str) -> object:
    if text in _SPECIAL_FLOATS:
        return text
    if len(text) <= _MOST_DIGITS and _FLOAT.fullmatch(text):
        number = float(text)
        if number - number == 0.0:  # neither infinite nor no number
            return number
    raise wrong(text, 'a number, or "INF", "-INF" or "NaN"')


def _text_of_base64(value: object) -> str:
    text = _text_of_string(value)
    _base64(text)
    return text


def _base64(text: str) -> object:
    text = "".join(text.split())
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong(text, "base64") from None
    return text


def _checked_string(
    pattern: str, rule: str
) -> tuple[Callable[[object], str], Callable[[str], object]]:
    matches = re.compile(pattern, re.ASCII).fullmatch

    def text_of(value: object) -> str:
        if isinstance(value, str) and matches(value):
            return value
        raise wrong(value, rule)

    def value_of(text: str) -> object:
        if matches(text):
            return text
        raise wrong(text, rule)

    return text_of, value_of


_LOCAL = r"[A-Za-z_][A-Za-z0-9_.\-]*"
# libxml2 reads no namespace that is no URI.
_URI = (
    r"(?:[A-Za-z][A-Za-z0-9+.\-]*:(?!/)[A-Za-z0-9:._~?=/\-]+"
    r"|https?://[A-Za-z0-9.\-]+(?::\d{1,5})?(?:/[A-Za-z0-9:._~?=/\-]*)?)"
)
_NAME = rf"(?:\{{{_URI}\}})?{_LOCAL}"
_ZONE = r"(?:Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00)?"
_YEAR = r"(?!-?0000)-?(?:[1-9]\d{3,8}|0\d{3})"
_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_MONTH_DAY = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|[12]\d))"
)
_DATE = f"{_YEAR}-{_MONTH}-{_DAY}"
_TIME = r"(?:(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?|24:00:00(?:\.0+)?)"
# JSON Schema's own formats are those of RFC 3339, which demands a zone where XSD leaves it open.
_DATES: dict[str, tuple[str, str]] = {
    "dateTime": (f"{_DATE}T{_TIME}{_ZONE}", "a date and time as 2026-03-01T12:00:00Z"),
    "date": (f"{_DATE}{_ZONE}", "a date as 2026-03-01"),
    "time": (f"{_TIME}{_ZONE}", "a time as 12:00:00"),
    "duration": (
        r"-?P(?=.)(?:\d{1,9}Y)?(?:\d{1,9}M)?(?:\d{1,9}D)?"
        r"(?:T(?=.)(?:\d{1,9}H)?(?:\d{1,9}M)?(?:\d{1,9}(?:\.\d{1,9})?S)?)?",
        "a duration as PT1H30M",
    ),
    "gYear": (f"{_YEAR}{_ZONE}", "a year as 2026"),
    "gYearMonth": (f"{_YEAR}-{_MONTH}{_ZONE}", "a month as 2026-03"),
    "gMonth": (f"--{_MONTH}{_ZONE}", "a month as --03"),
    "gMonthDay": (f"--{_MONTH_DAY}{_ZONE}", "a day of a year as --03-01"),
    "gDay": (f"---{_DAY}{_ZONE}", "a day of a month as ---01"),
}


def _day_of_the_calendar(value: object, text: str) -> None:
    year, month, day = text.lstrip("-").split("-", 2)
    if int(day[:2]) > 28 and int(day[:2]) > monthrange(int(year[-4:]) or 2000, int(month))[1]:
        raise wrong(value, "a day of the calendar")


_RANGES: dict[str, tuple[int | None, int | None]] = {
    "integer": (None, None),
    "nonPositiveInteger": (None, 0),
    "negativeInteger": (None, -1),
    "nonNegativeInteger": (0, None),
    "positiveInteger": (1, None),
    "long": (-(2**63), 2**63 - 1),
    "int": (-(2**31), 2**31 - 1),
    "short": (-(2**15), 2**15 - 1),
    "byte": (-128, 127),
    "unsignedLong": (0, 2**64 - 1),
    "unsignedInt": (0, 2**32 - 1),
    "unsignedShort": (0, 2**16 - 1),
    "unsignedByte": (0, 255),
}
_STRINGS = {"string", "anySimpleType", "anyAtomicType", "normalizedString"}


def _range(low: int | None, high: int | None) -> type_of_check:
    ends = f"{'' if low is None else low} to {'' if high is None else high}".strip()

    def check(value: object, text: str) -> None:
        if (low is not None and value < low) or (high is not None and value > high):  # type: ignore[operator]
            raise wrong(value, f"a number of the range {ends}")

    return check


def built_in(name: str) -> Simple:
    """XSD's own type of this local name."""
    schema: dict[str, object]
    if name in _RANGES:
        low, high = _RANGES[name]
        schema = {"type": "integer"}
        if low is not None:
            schema["minimum"] = low
        if high is not None:
            schema["maximum"] = high
        checks = () if low is high else (_range(low, high),)
        return Simple(name, _text_of_integer, _integer, True, checks, checks, schema)
    if name == "boolean":
        return Simple(name, _text_of_boolean, _boolean, schema={"type": "boolean"})
    if name == "decimal":
        return Simple(name, _text_of_decimal, _decimal, schema={"type": "number"})
    if name in ("float", "double"):
        number: dict[str, object] = {
            "anyOf": [{"type": "number"}, {"enum": sorted(_SPECIAL_FLOATS)}]
        }
        return Simple(name, _text_of_float, _float, schema=number)
    if name == "base64Binary":
        schema = {"type": "string", "contentEncoding": "base64"}
        return Simple(name, _text_of_base64, _base64, schema=schema)
    if name == "hexBinary":
        text_of, value_of = _checked_string("(?:[0-9a-fA-F]{2})*", "hexadecimal digits, in pairs")
        schema = {"type": "string", "pattern": "^(?:[0-9a-fA-F]{2})*$"}
        return Simple(name, text_of, value_of, schema=schema)
    if name in ("QName", "NOTATION"):
        rule = 'a name, with its namespace as "{urn:x}name"'
        text_of, _ = _checked_string(_NAME, rule)
        _, value_of = _checked_string(rf"(?:\{{[^{{}}]+\}})?{_LOCAL}", rule)
        return Simple(name, text_of, value_of, schema={"type": "string", "pattern": f"^{_NAME}$"})
    if name in _DATES:
        pattern, rule = _DATES[name]
        text_of, value_of = _checked_string(pattern, rule)
        schema = {"type": "string", "pattern": f"^(?:{pattern})$", "description": rule}
        days = (_day_of_the_calendar,) if name in ("date", "dateTime") else ()
        return Simple(name, text_of, value_of, True, days, days, schema)
    keeps = name in _STRINGS
    return Simple(name, _text_of_string, _as_it_is, not keeps, schema={"type": "string"})


def list_of(item: Simple) -> Simple:
    def text_of(value: object) -> str:
        if not isinstance(value, list):
            raise wrong(value, "an array")
        texts = []
        for place, one in enumerate(value):
            try:
                text = item.write(one)
                if not text or text.split() != [text]:
                    raise wrong(one, "a value without white space: the items are a list in XML")
                texts.append(text)
            except BadPayload as bad:
                raise bad.below(place) from None
        return " ".join(texts)

    def value_of(text: str) -> object:
        return [item.read(one, False) for one in text.split()]

    def check_each(value: object, text: str) -> None:
        for one in text.split():
            item.read(one, True)

    schema: dict[str, object] = {"type": "array", "items": item.schema}
    return Simple("list", text_of, value_of, True, (check_each,), (), schema)


def union_of(members: Iterable[Simple]) -> Simple:
    tried = tuple(members)
    names = ", ".join(dict.fromkeys(one.kind for one in tried))

    def text_of(value: object) -> str:
        for one in tried:
            try:
                return one.write(value)
            except BadPayload:
                continue
        raise wrong(value, f"one of these types: {names}")

    def value_of(text: str) -> object:
        for one in tried:
            try:
                return one.read(text, True)
            except BadPayload:
                continue
        raise wrong(text, f"one of these types: {names}")

    schema: dict[str, object] = {"anyOf": [one.schema for one in tried]}
    # The members collapse white space each by its own rule.
    return Simple("union", text_of, value_of, False, schema=schema)


def fixed_to(simple: Simple, text: str) -> Simple:
    """The same type where a schema allows one value alone."""
    only = simple.read(text, False)

    def check(value: object, _: str) -> None:
        if value != only:
            raise wrong(value, f"{text}, which is fixed")

    schema = {**simple.schema, "const": plain(only)}
    return replace(simple, checks=(*simple.checks, check), schema=schema)


def compared(value: object) -> Decimal | None:
    """A number to compare with a bound, if it is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def plain(value: object) -> object:
    """For a schema, which is there to be read: no Decimal."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
