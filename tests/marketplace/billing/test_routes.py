"""What is asked of billing over HTTP, as it is read; the stories are in tests/flows."""

from __future__ import annotations

import pytest

from marketplace.billing.routes import LineToCredit, read_lines
from marketplace.billing.standing import BadCredit


def test_each_line_is_credited_once_and_one_that_is_named_twice_is_refused() -> None:
    first, second = LineToCredit(line=1, amount="0.10"), LineToCredit(line=2, amount="2")
    assert read_lines([first, second], "EUR") == {1: 10, 2: 200}
    with pytest.raises(BadCredit) as refused:
        read_lines([first, second, LineToCredit(line=1, amount="0.20")], "EUR")
    assert (refused.value.field, refused.value.value) == ("lines", 1)
