"""Payments between three partners, and what their banks would write about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from clearinghouse.payments.model import BankAccount, BankEntry, Due, EntryKey
from roaming.party import PartyId

OPERATOR = BankAccount(
    PartyId("FR*PD1"), "Point du Jour SAS", "FR1420041010050500013M02606", "PSSTFRPPPAR"
)
EVSP = BankAccount(PartyId("DE*XYZ"), "XYZ Mobilität GmbH", "DE89370400440532013000", "COBADEFFXXX")
OTHER = BankAccount(PartyId("NL*FCS"), "Français & Söhne B.V.", "NL91ABNA0417164300")


def due(reference: str = "GR-2025-01-A", amount_minor: int = 10_000, **changes: Any) -> Due:
    told: dict[str, Any] = {
        "reference": reference,
        "payer": EVSP.party,
        "payee": OPERATOR.party,
        "currency": "EUR",
        "amount_minor": amount_minor,
        "due_on": date(2025, 3, 5),
        "about": "settlement 2025-01",
        "payer_account": EVSP,
        "payee_account": OPERATOR,
    }
    return Due(**(told | changes))


def entry(amount_minor: int, number: int = 0, **changes: Any) -> BankEntry:
    told: dict[str, Any] = {
        "key": EntryKey(str(OPERATOR.iban), "STMT-1", "E1", number),
        "booked_on": date(2025, 3, 4),
        "currency": "EUR",
        "amount_minor": amount_minor,
    }
    return BankEntry(**(told | changes))


def camt(*entries: str, version: str = "08", statement_id: str = "STMT-2025-03-04") -> bytes:
    """A bank statement of the operator's account, in the shape of the schema."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}">
  <BkToCstmrStmt>
    <GrpHdr><MsgId>MSG-1</MsgId><CreDtTm>2025-03-04T18:00:00Z</CreDtTm></GrpHdr>
    <Stmt>
      <Id>{statement_id}</Id>
      <CreDtTm>2025-03-04T18:00:00Z</CreDtTm>
      <Acct><Id><IBAN>{OPERATOR.iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>
      <Bal>
        <Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp>
        <Amt Ccy="EUR">1000.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2025-03-04</Dt></Dt>
      </Bal>
      {"".join(entries)}
    </Stmt>
  </BkToCstmrStmt>
</Document>""".encode()


def ntry(
    amount: str,
    *details: str,
    ref: str = "E1",
    sign: str = "CRDT",
    status: str = "BOOK",
    reversal: bool = False,
    currency: str = "EUR",
) -> str:
    return f"""<Ntry>
      <NtryRef>{ref}</NtryRef>
      <Amt Ccy="{currency}">{amount}</Amt>
      <CdtDbtInd>{sign}</CdtDbtInd>
      {"<RvslInd>true</RvslInd>" if reversal else ""}
      <Sts><Cd>{status}</Cd></Sts>
      <BookgDt><Dt>2025-03-04</Dt></BookgDt>
      <BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>
      {_details(details)}
    </Ntry>"""


def _details(details: Sequence[str]) -> str:
    if not details:
        return ""
    batch = f"<Btch><NbOfTxs>{len(details)}</NbOfTxs></Btch>" if len(details) > 1 else ""
    return f"<NtryDtls>{batch}{''.join(details)}</NtryDtls>"


def tx(
    end_to_end_id: str,
    amount: str,
    *,
    sign: str = "CRDT",
    iban: str = str(EVSP.iban),
    text: str = "",
    returned: str | None = None,
) -> str:
    back = f"<RtrInf><Rsn><Cd>{returned}</Cd></Rsn></RtrInf>" if returned else ""
    remittance = f"<RmtInf><Ustrd>{text}</Ustrd></RmtInf>" if text else ""
    return f"""<TxDtls>
      <Refs><EndToEndId>{end_to_end_id}</EndToEndId></Refs>
      <Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{sign}</CdtDbtInd>
      <RltdPties>
        <Dbtr><Pty><Nm>XYZ Mobilitaet GmbH</Nm></Pty></Dbtr>
        <DbtrAcct><Id><IBAN>{iban}</IBAN></Id></DbtrAcct>
      </RltdPties>
      {remittance}{back}
    </TxDtls>"""
