"""Templates say parameters and do nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from marketplace.framework import wording
from marketplace.framework.model import BadClause, BadModule
from tests.marketplace.framework.drawn import TEXTS
from tests.marketplace.framework.modules import module


def said(template: str, **parameters: Any) -> str:
    one = module(template=template)
    wording.check(one)
    return wording.text_of(one, parameters)


def test_a_text_says_its_parameters() -> None:
    assert said("For {{ hours | count }} hours.", hours=1_500) == "For 1,500 hours."
    assert said("On {{ days | listed }}.", days=["a", "b", "c"]) == "On a, b and c."
    assert said("{% for day in days %}{{ day }}! {% endfor %}", days=["a", "b"]) == "a! b!"
    assert said("{{ 1250 | money('EUR') }}") == "EUR 12.50"
    assert said("{{ note | day }}", note="2026-03-01T12:00:00+01:00") == "1 March 2026, 11:00 UTC"
    assert said("{% if note %}x{% else %}y{% endif %}") == "y"
    assert said("{% if note.more %}x{% else %}y{% endif %}", note={}) == "y"
    assert said("{{ note.items }}", note={"items": 3}) == "3"


def test_lines_are_one_paragraph_and_an_empty_line_begins_another() -> None:
    assert said("one\n  two\n\n \n three") == "one two\n\nthree"


@given(TEXTS)
def test_a_parameter_never_begins_a_paragraph(text: str) -> None:
    assert "\n" not in said("A {{ note }} B", note=f"x\n\n{text}\r\n\r\ny")


@pytest.mark.parametrize(
    "template",
    [
        "{{ hours",
        "{{ unheard }}",
        "{% if other %}x{% endif %}",
        "{{ note() }}",
        "{{ range(9) }}",
        "{{ note.upper() }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ days | map(attribute='x') | list }}",
        "{{ note | attr('__class__') }}",
        "{% set note = 'x' %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as x %}",
        "{% extends 'x' %}",
        "{% for a in days %}{% for b in days %}x{% endfor %}{% endfor %}",
        "{% for a in days recursive %}{{ a }}{% endfor %}",
        "{% raw %}x",
        "{{ note is sameas(none) }}",
        "{{ self }}",
        "{{ loop }}",
        "{{ " + "(" * 900 + "1" + ")" * 900 + " }}",
    ],
)
def test_what_is_more_than_saying_is_not_published(template: str) -> None:
    with pytest.raises(BadModule) as refused:
        wording.check(module(template=template))
    assert refused.value.field == "template"


@pytest.mark.parametrize(
    "template",
    [
        "{{ note.__class__ }}",
        "{{ note['__class__'] }}",
        "{{ note.mro }}",
        "{{ hours.real }}",
        "{{ note }}{{ days }}",
        "{{ days | listed }}",
        "{{ note | money('EUR') }}",
        "{{ hours | money('XXX') }}",
        "{{ note | day }}",
        "{{ note | count }}",
    ],
)
def test_nothing_of_python_is_reached_and_what_says_nothing_is_refused(template: str) -> None:
    one = module(template=template)
    wording.check(one)
    with pytest.raises(BadClause) as refused:
        wording.text_of(one, {"note": "text", "hours": 1, "days": []})
    assert refused.value.field == "clauses.parking"


def test_a_text_without_end_is_cut_short() -> None:
    one = module(template="{% for day in days %}{{ note }}{% endfor %}")
    with pytest.raises(BadClause, match="makes no text") as refused:
        wording.text_of(one, {"note": "x" * 10_000, "days": list(range(100))})
    assert "characters" in str(refused.value.rule)
