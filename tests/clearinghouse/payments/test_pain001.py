"""Payment files: what the schema takes, and what a bank brings back."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import pytest
import sepaxml
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from clearinghouse.payments.model import BankAccount, NoPaymentFile
from clearinghouse.payments.pain001 import payment_file
from tests.clearinghouse.payments.samples import EVSP, OPERATOR, OTHER, due

NS = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}
MADE_AT = datetime(2025, 2, 3, 10, 30, tzinfo=UTC)
EXECUTE_ON = date(2025, 3, 5)


@cache
def schema() -> etree.XMLSchema:
    folder = Path(sepaxml.__file__).parent / "schemas"
    return etree.XMLSchema(etree.parse(folder / "pain.001.001.09.xsd"))


def made(*dues: object, payer: BankAccount = EVSP) -> etree._Element:
    file = payment_file(payer, dues, made_at=MADE_AT, execute_on=EXECUTE_ON)  # type: ignore[arg-type]
    root = etree.fromstring(file)
    schema().assertValid(root)
    return root


def texts(root: etree._Element, name: str) -> list[str | None]:
    return [one.text for one in root.iterfind(f".//p:{name}", NS)]


def test_a_file_of_two_payments_is_one_the_schema_takes() -> None:
    root = made(due("GR-B", 250, payee=OTHER.party, payee_account=OTHER), due("GR-A", 1_234_567))
    assert texts(root, "EndToEndId") == ["GR-A", "GR-B"]
    assert texts(root, "InstdAmt") == ["12345.67", "2.50"]
    assert texts(root, "CtrlSum") == ["12348.17", "12348.17"]
    assert texts(root, "NbOfTxs") == ["2", "2"]
    assert texts(root, "ReqdExctnDt/p:Dt") == ["2025-03-05"]
    assert texts(root, "DbtrAcct//p:IBAN") == [EVSP.iban]
    assert texts(root, "CdtrAcct//p:IBAN") == [OPERATOR.iban, OTHER.iban]
    assert texts(root, "CreDtTm") == ["2025-02-03T10:30:00"]


def test_names_are_written_in_the_letters_that_every_bank_takes() -> None:
    root = made(due(payee=OTHER.party, payee_account=OTHER))
    assert texts(root, "CdtrAcct/../p:Cdtr/p:Nm") == ["Francais   Sohne B.V."]
    assert texts(root, "Dbtr/p:Nm") == ["XYZ Mobilitat GmbH"]


def test_only_what_is_open_is_paid() -> None:
    assert texts(made(due(paid_minor=4_000)), "InstdAmt") == ["60.00"]


def test_the_same_payments_make_the_same_file() -> None:
    files = {
        payment_file(EVSP, [due("A"), due("B")], made_at=MADE_AT, execute_on=EXECUTE_ON)
        for _ in range(2)
    }
    assert len(files) == 1
    (message,) = texts(made(due("A"), due("B")), "MsgId")
    (other,) = texts(made(due("A"), due("C")), "MsgId")
    assert message != other


@pytest.mark.parametrize(
    ("dues", "payer", "rule"),
    [
        ([], EVSP, "at least one"),
        ([due(currency="JPY")], EVSP, "SEPA moves euros only"),
        ([due(payee_account=None)], EVSP, "an IBAN in the business details"),
        ([due()], replace(EVSP, iban=None), "an IBAN in the business details"),
    ],
)
def test_what_no_file_can_be_made_of_is_refused_with_the_reason(
    dues: list[object], payer: BankAccount, rule: str
) -> None:
    with pytest.raises(NoPaymentFile) as refused:
        made(*dues, payer=payer)
    assert rule in str(refused.value.rule)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=200), st.text(max_size=300), st.integers(1, 10**11))
def test_any_name_and_any_text_make_a_file_that_the_schema_takes(
    name: str, about: str, amount: int
) -> None:
    payee = replace(OTHER, name=name)
    root = made(due(amount_minor=amount, about=about, payee_account=payee, payee=OTHER.party))
    for text in texts(root, "Nm") + texts(root, "Ustrd"):
        assert re.fullmatch(r"[A-Za-z0-9/?:().,'+ -]+", str(text)), text
