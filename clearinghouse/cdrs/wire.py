"""Records as JSON: what operators send, what they are told, and what EVSPs receive."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from clearinghouse.cdrs.batch import Outcome
from clearinghouse.cdrs.life import CannotBecome, State
from clearinghouse.cdrs.model import BadCdr, Cdr, Reason, Submission, UnknownCdr
from clearinghouse.rating.model import Rated, is_zone
from kit.encoding import encode_json
from roaming.charge import ChargingPeriod
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import BadMoney, Money
from roaming.party import PartyId
from roaming.refusal import Malformed
from roaming.token import TokenUid

MOST_IN_A_CALL = 1_000
MOST_PERIODS = 5_000
MOST_CDR_BYTES = 256 * 1024
"""An EVSP gets up to a hundred records at once; signed meter values take a few kilobytes."""
MOST_WH = 10**12
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)

Instant = Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339, with offset")]
EnergyWh = Annotated[int, msgspec.Meta(ge=-MOST_WH, le=MOST_WH, description="Wh")]
# Written so that `$` cannot let a line end through, in Python's dialect as in ECMA's.
Name = Annotated[str, msgspec.Meta(pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])[\s\S]{1,64}$")]


class PeriodTold(msgspec.Struct, frozen=True):
    """From `start` until the next period's, or the charge's end. Parking: plugged, not charging."""

    start: Instant
    energy_wh: EnergyWh = 0
    parking: bool = False


class CostTold(msgspec.Struct, frozen=True):
    """What the operator reckons, without VAT: amounts as decimal texts."""

    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    excl_vat: Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,4})?\Z")]


class CdrTold(msgspec.Struct, frozen=True, kw_only=True):
    """A charge detail record. At least one of authorisation_id, contract_id and token_uid.

    A credit (`credit`, and the id that it takes back in `credit_reference_id`) repeats its record
    under an id of its own; one that `replaces` a credited record is told like any other.
    """

    cdr_id: Name
    evse_id: str
    start: Instant
    end: Instant
    energy_wh: EnergyWh
    authorisation_id: Name | None = None
    contract_id: str | None = None
    token_uid: str | None = None
    time_zone: str | None = None
    periods: Annotated[list[PeriodTold], msgspec.Meta(max_length=MOST_PERIODS)] = []
    signed_meter_values: Annotated[list[Any], msgspec.Meta(max_length=MOST_PERIODS)] = []
    total_cost: CostTold | None = None
    credit: bool = False
    credit_reference_id: Name | None = None
    replaces: Name | None = None


class ReasonShown(msgspec.Struct, frozen=True):
    reason: str
    says: str


class PriceShown(msgspec.Struct, frozen=True):
    """Amounts as decimal texts."""

    currency: str
    excl_vat: str
    vat: str
    incl_vat: str


class VatShown(msgspec.Struct, frozen=True):
    """The rule of docs/vat.md that decided, and EN 16931's category.

    `percent` null: each price line has its own.
    """

    rule: str
    category: str | None
    percent: str | None


class MeterShown(msgspec.Struct, frozen=True):
    """What came of the signed meter values, and the energy that a sound signature vouches for."""

    outcome: str
    says: str = ""
    signed_wh: int | None = None


class CdrAnswer(msgspec.Struct, frozen=True):
    """What became of a record. `reasons` in words to compare, `details` in sentences to read.

    `notices` are worth a word, and changed nothing.
    """

    cdr_id: str | None
    state: str
    reasons: list[str]
    price: PriceShown | None = None
    details: list[ReasonShown] = []
    notices: list[ReasonShown] = []


class LineRejected(msgspec.Struct, frozen=True):
    line: int
    answer: CdrAnswer


class StreamShown(msgspec.Struct, frozen=True):
    """`read` = `accepted` + `flagged` + `rejected` + `known`; the first rejections are told.

    Records that were rejected are listed by `GET …/cdrs?state=rejected&since=`; malformed lines
    are kept nowhere.
    """

    read: int
    accepted: int
    flagged: int
    rejected: int
    known: int
    rejections: list[LineRejected]
    since: Instant


class StreamReport:
    """Counts what becomes of a stream, in flat memory."""

    def __init__(self, shown: int) -> None:
        self._shown = shown
        self._counts: Counter[str] = Counter()
        self._rejections: list[LineRejected] = []

    def add(self, line: int, answer: CdrAnswer, known: bool) -> None:
        if answer.state == "rejected":
            self._counts["rejected"] += 1
            if len(self._rejections) < self._shown:
                self._rejections.append(LineRejected(line, answer))
            return
        self._counts["known" if known else answer.state] += 1

    def shown(self, since: datetime) -> StreamShown:
        counts = self._counts
        return StreamShown(
            read=counts.total(),
            accepted=counts["accepted"],
            flagged=counts["flagged"],
            rejected=counts["rejected"],
            known=counts["known"],
            rejections=self._rejections,
            since=since,
        )


class CdrNamed(msgspec.Struct, frozen=True):
    """A record, by whose it is and by its own name."""

    operator: str
    cdr_id: Name


class ApprovalsTold(msgspec.Struct, frozen=True):
    """The records that an EVSP agrees with."""

    cdrs: Annotated[list[CdrNamed], msgspec.Meta(min_length=1, max_length=MOST_IN_A_CALL)]


class ApprovalShown(msgspec.Struct, frozen=True):
    """`state` after the call. `problem`: why it is not approved, in a word."""

    operator: str
    cdr_id: str
    state: str | None
    problem: str | None = None
    says: str | None = None


class ApprovalsShown(msgspec.Struct, frozen=True):
    cdrs: list[ApprovalShown]


class CdrShown(CdrTold, frozen=True, kw_only=True):
    """A record as it is kept: what was told, and what the house made of it.

    `period_id`: the accounting period that it belongs to, which is a later one than its end's where
    that was closed when it came; null for what was rejected.
    """

    operator: str
    evsp: str | None
    state: str
    reasons: list[ReasonShown]
    agreement_id: str | None
    price: PriceShown | None
    price_lines: list[Any]
    recorded_at: Instant
    notices: list[ReasonShown] = []
    period_id: str | None
    vat: VatShown | None = None
    meter_values: MeterShown = MeterShown("absent")


def submission_of(operator: PartyId, told: CdrTold) -> Submission:
    """A record in the words of the house. Raises Malformed, which names the field."""
    if told.authorisation_id is None and told.contract_id is None and told.token_uid is None:
        raise BadCdr(
            "nobody is named for this charge",
            field="contract_id",
            rule="one of authorisation_id, contract_id, token_uid",
        )
    if told.time_zone is not None and not is_zone(told.time_zone):
        raise BadCdr(
            "no such time zone",
            field="time_zone",
            value=told.time_zone,
            rule="a name of the IANA time zone database",
        )
    evse_id = EvseId(told.evse_id)
    contract_id = None if told.contract_id is None else ContractId(told.contract_id)
    token_uid = None if told.token_uid is None else TokenUid(told.token_uid)
    start, end = _utc(told.start, "start"), _utc(told.end, "end")
    periods = tuple(
        ChargingPeriod(_utc(one.start, "periods.start"), one.energy_wh, one.parking)
        for one in told.periods
    )
    total_cost = None if told.total_cost is None else _money(told.total_cost)
    # What is told seldom counts only where it is told: a record keeps its content's hash then.
    seldom = {
        name: value
        for name, value in (
            ("total_cost", total_cost),
            ("credit_reference_id", told.credit_reference_id),
            ("replaces", told.replaces),
        )
        if value is not None
    }
    if told.credit != (told.credit_reference_id is not None) or (told.credit and told.replaces):
        raise BadCdr(
            "half a credit" if not told.replaces else "a credit replaces nothing",
            field="credit_reference_id",
            value=told.credit_reference_id,
            rule="credit: true and credit_reference_id together, without replaces",
        )
    content = encode_json(
        (
            evse_id,
            told.authorisation_id,
            contract_id,
            token_uid,
            start,
            end,
            told.time_zone,
            told.energy_wh,
            [(one.start, one.energy_wh, one.parking) for one in periods],
            told.signed_meter_values,
            *([seldom] if seldom else []),
        )
    )
    return Submission(
        operator=operator,
        cdr_id=told.cdr_id,
        evse_id=evse_id,
        authorisation_id=told.authorisation_id,
        contract_id=contract_id,
        token_uid=token_uid,
        start=start,
        end=end,
        time_zone=told.time_zone,
        energy_wh=told.energy_wh,
        periods=periods,
        signed_meter_values=told.signed_meter_values,
        content=hashlib.sha256(content).digest(),
        total_cost=total_cost,
        credit_reference_id=told.credit_reference_id,
        replaces=told.replaces,
    )


def _money(told: CostTold) -> Money:
    try:
        return Money.parse(f"{told.excl_vat} {told.currency}")
    except BadMoney as bad:
        raise BadCdr(bad.detail, field="total_cost", value=bad.value, rule=bad.rule) from None


def _utc(at: datetime, field: str) -> datetime:
    # Compared before it is converted: the calendar's first and last day have no UTC everywhere.
    if not _EARLIEST <= at < _LATEST:
        raise BadCdr(
            "not a time of this business",
            field=field,
            value=at.isoformat(),
            rule="from 2000 to 2199",
        )
    return at.astimezone(UTC)


def answer_of(outcome: Outcome) -> CdrAnswer:
    cdr = outcome.cdr
    if outcome.reused:
        return CdrAnswer(
            cdr.submission.cdr_id,
            "rejected",
            ["cdr-id-reused"],
            details=[ReasonShown("cdr-id-reused", reused_says(cdr))],
        )
    return CdrAnswer(
        cdr_id=cdr.submission.cdr_id,
        state=cdr.state.value,
        reasons=[one.name for one in cdr.reasons],
        price=_price_of(cdr),
        details=_details_of(cdr),
        notices=_said(cdr.notices),
    )


def reused_says(cdr: Cdr) -> str:
    return f"cdr {cdr.submission.cdr_id} was booked with other content, and stands"


def malformed_answer(cdr_id: object, refusal: Malformed) -> CdrAnswer:
    """The answer to one record of a list that is none; the others are not its affair."""
    field = f"{refusal.field}: " if refusal.field else ""
    return CdrAnswer(
        cdr_id[:64] if isinstance(cdr_id, str) else None,
        "rejected",
        ["malformed"],
        details=[ReasonShown("malformed", f"{field}{refusal.detail}")],
    )


def shown(cdr: Cdr) -> CdrShown:
    """The full record, as EVSPs and operators get it.

    A rejected one is its operator's alone, and says no more of the customer than the operator did:
    who holds a card must not learn by it whose contract it is.
    """
    told, rated = cdr.submission, cdr.rated
    contract_id = cdr.contract_id if cdr.booked else told.contract_id
    return CdrShown(
        cdr_id=told.cdr_id,
        operator=str(told.operator),
        evse_id=told.evse_id.display,
        authorisation_id=told.authorisation_id,
        contract_id=None if contract_id is None else contract_id.display,
        token_uid=None if told.token_uid is None else str(told.token_uid),
        evsp=None if cdr.evsp is None else str(cdr.evsp),
        start=told.start,
        end=told.end,
        time_zone=told.time_zone if rated is None else rated.time_zone,
        energy_wh=told.energy_wh,
        periods=[PeriodTold(one.start, one.energy_wh, one.parking) for one in told.periods],
        signed_meter_values=list(told.signed_meter_values),
        state=cdr.state.value,
        reasons=_details_of(cdr),
        agreement_id=None if rated is None else rated.agreement_id,
        price=_price_of(cdr),
        price_lines=[] if rated is None else list(rated.lines),
        recorded_at=cdr.recorded_at,
        notices=_said(cdr.notices),
        vat=None if rated is None else _vat_of(rated),
        meter_values=_meter_of(cdr),
        total_cost=None if told.total_cost is None else _cost_of(told.total_cost),
        period_id=f"{cdr.value_at:%Y-%m}" if cdr.booked else None,
        credit=told.credit_reference_id is not None,
        credit_reference_id=told.credit_reference_id,
        replaces=told.replaces,
    )


def approval_of(
    operator: PartyId, cdr_id: str, outcome: State | CannotBecome | UnknownCdr
) -> ApprovalShown:
    if isinstance(outcome, State):
        return ApprovalShown(str(operator), cdr_id, State.APPROVED.value)
    known = str(outcome.value) if isinstance(outcome, CannotBecome) else None
    word = "cannot-become" if known else "unknown-cdr"
    return ApprovalShown(str(operator), cdr_id, known, word, outcome.detail)


def _vat_of(rated: Rated) -> VatShown:
    percent = rated.vat_percent
    return VatShown(rated.vat_rule, rated.vat_category, None if percent is None else f"{percent:f}")


def _meter_of(cdr: Cdr) -> MeterShown:
    if cdr.meter is None:
        return MeterShown("absent")
    return MeterShown(cdr.meter.outcome.value, cdr.meter.says, cdr.meter.signed_wh)


def _cost_of(cost: Money) -> CostTold:
    return CostTold(cost.currency, cost.figure)


def _price_of(cdr: Cdr) -> PriceShown | None:
    return None if cdr.rated is None else PriceShown(**cdr.rated.amounts())


def _details_of(cdr: Cdr) -> list[ReasonShown]:
    return _said(cdr.reasons)


def _said(reasons: Sequence[Reason]) -> list[ReasonShown]:
    return [ReasonShown(one.name, one.says) for one in reasons]


def read_one(body: bytes) -> Sequence[msgspec.Raw] | CdrTold:
    """One record, or the raw records of a list. Raises Malformed."""
    # PostgreSQL keeps no NUL in a text, and nobody has a use for one in a record.
    if b"\\u0000" in body:
        raise BadCdr("a NUL character", field="body", rule="texts without U+0000")
    if body.lstrip()[:1] != b"[":
        return decode_cdr(body)
    try:
        raws = msgspec.json.decode(body, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise Malformed(f"the body is not JSON: {error}", field="body", rule="RFC 8259") from None
    if len(raws) > MOST_IN_A_CALL:
        raise BadCdr(
            f"{len(raws)} records in one call",
            field="body",
            value=len(raws),
            rule=f"at most {MOST_IN_A_CALL}",
        )
    return raws


_decoder = msgspec.json.Decoder(CdrTold)


def decode_cdr(body: bytes | msgspec.Raw) -> CdrTold:
    """One record. Raises BadCdr, which names the field and the rule."""
    if isinstance(body, bytes) and b"\\u0000" in body:
        raise BadCdr("a NUL character", field="body", rule="texts without U+0000")
    if memoryview(body).nbytes > MOST_CDR_BYTES:
        raise BadCdr(
            f"the record has {memoryview(body).nbytes} bytes",
            field="body",
            value=memoryview(body).nbytes,
            rule=f"at most {MOST_CDR_BYTES}",
        )
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        rule, _, place = str(error).partition(" - at `")
        raise BadCdr(
            str(error), field=place.rstrip("`").removeprefix("$.") or None, rule=rule
        ) from None
    except msgspec.DecodeError as error:
        raise BadCdr(f"the body is not JSON: {error}", field="body", rule="RFC 8259") from None


def cdr_id_of(raw: bytes | msgspec.Raw) -> object:
    """The cdr_id of a record that could not be read, if it has one."""
    try:
        record = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    return record.get("cdr_id") if isinstance(record, dict) else None
