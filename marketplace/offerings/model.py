"""An offering: a service, the terms on which it may be had, by whom, and for what time.

Two kinds of terms: those of a service that is called, and those of a roaming agreement. Both are
read from JSON and written back in one form, so that equal terms are equal texts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from marketplace.framework.model import Kind
from marketplace.offerings.coverage import TariffGroup, patterns, percent, tariff_groups
from marketplace.offerings.price import PricePlan, Step
from marketplace.offerings.reading import BadTerms as BadTerms
from marketplace.offerings.reading import bad as _bad
from marketplace.offerings.reading import only as _only
from marketplace.offerings.reading import text as _text
from marketplace.offerings.reading import time_zone as _time_zone
from marketplace.offerings.reading import whole as _whole
from marketplace.partners.model import Role
from marketplace.services.model import (
    LOAD_MANAGEMENT,
    ROAMING,
    Environment,
    Protocol,
    Service,
)
from marketplace.services.model import Status as ServiceStatus
from roaming.money import places_of
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, Refusal, Unknown
from roaming.tariff import Tariff

MOST_PARTIES = 10_000
MOST_OPERATIONS = 500
LONGEST_PAYMENT_DAYS = 365
LONGEST_NOTICE_DAYS = 3_650
LONGEST_RENEWAL_MONTHS = 120
MOST = 10**12
MOST_CALLS_IN_A_PACK = 10**9
_DEEPEST = 40
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


class BadOffering(Malformed):
    """An offering that breaks a rule."""


class UnknownOffering(Unknown):
    """No such offering, or none that is made to the caller."""


class NotYourOffering(NotYours):
    """Only who makes an offering withdraws it."""


class NotYourServiceToOffer(NotYours):
    """A service is offered by its provider; roaming, by any EVSE operator."""


class OfferingWithdrawn(Clash):
    """The offering is no longer made."""


class ServiceEnding(Clash):
    """What is deprecated or retired is neither offered nor agreed upon any more."""


class ServiceNotPublished(Clash):
    """A draft is agreed upon by nobody, and what is in test for the sandbox alone."""


class Status(StrEnum):
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


class Strategy(StrEnum):
    """How the two parties' debts are cleared."""

    GROSS = "gross"
    BILATERAL = "bilateral"
    MULTILATERAL = "multilateral"
    CYCLES = "cycles"


class AudienceKind(StrEnum):
    PUBLIC = "public"
    ROLES = "roles"
    PARTIES = "parties"


@dataclass(frozen=True, slots=True)
class Audience:
    """To whom an offering is made: everybody, whoever holds a role, or named parties."""

    kind: AudienceKind
    names: frozenset[str] = frozenset()

    @classmethod
    def public(cls) -> Audience:
        return cls(AudienceKind.PUBLIC)

    @classmethod
    def of_roles(cls, roles: Collection[str]) -> Audience:
        for role in roles:
            if role not in list(Role):
                raise BadOffering(
                    f"there is no role {role[:100]!r}",
                    field="audience.roles",
                    value=role[:100],
                    rule=", ".join(Role),
                )
        if not roles:
            raise BadOffering("nobody is named", field="audience.roles", rule="at least one role")
        return cls(AudienceKind.ROLES, frozenset(roles))

    @classmethod
    def of_parties(cls, parties: Collection[str]) -> Audience:
        if not 0 < len(parties) <= MOST_PARTIES:
            raise BadOffering(
                "nobody is named, or too many",
                field="audience.parties",
                value=len(parties),
                rule=f"1 to {MOST_PARTIES} parties",
            )
        return cls(AudienceKind.PARTIES, frozenset(PartyId(party) for party in parties))

    def includes(self, party: PartyId, roles: Collection[str]) -> bool:
        if self.kind is AudienceKind.PARTIES:
            return party in self.names
        return self.kind is AudienceKind.PUBLIC or not self.names.isdisjoint(roles)


@dataclass(frozen=True, slots=True)
class Quota:
    """Calls that are allowed; None: as many as come. Days and calendar months are UTC."""

    calls_per_day: int | None = None
    calls_per_second: int | None = None
    calls_per_month: int | None = None

    @classmethod
    def parse(cls, raw: object) -> Quota:
        if not isinstance(raw, Mapping):
            raise _bad("terms.quota", raw, "an object")
        names = ("calls_per_day", "calls_per_second", "calls_per_month")
        _only(raw, "terms.quota", names)
        return cls(*(_limit(raw, name, "terms.quota") for name in names))

    def to_json(self) -> dict[str, Any]:
        told = {"calls_per_day": self.calls_per_day, "calls_per_second": self.calls_per_second}
        # Left out where there is none: terms of before are still the same texts.
        if self.calls_per_month is not None:
            told["calls_per_month"] = self.calls_per_month
        return told


@dataclass(frozen=True, slots=True)
class Pack:
    """Calls that are paid for before they are made, so many at a time."""

    calls: int
    price_minor: int = 0

    @classmethod
    def parse(cls, raw: object) -> Pack | None:
        if raw is None:
            return None
        if not isinstance(raw, Mapping):
            raise _bad("terms.pack", raw, "null or an object")
        _only(raw, "terms.pack", ["calls", "price_minor"])
        return cls(
            _whole(raw, "calls", 1, MOST_CALLS_IN_A_PACK, 0, path="terms.pack"),
            _whole(raw, "price_minor", 0, MOST, 0, path="terms.pack"),
        )

    def to_json(self) -> dict[str, Any]:
        return {"calls": self.calls, "price_minor": self.price_minor}


@dataclass(frozen=True, slots=True)
class ServiceTerms:
    """What a contract on a service that is called allows and costs.

    `operations` are names, or patterns `METHOD path` with `*`; `*` alone is all of them.
    `notice_days`: a party that terminates is bound for so long. `pack`: calls are bought in packs
    before they are made, and without a bought pack none is. `plan`: what else than a price for
    each call it costs. `renews_months`: where the contract has an end, it goes on for so long again
    unless notice was given in time; 0: it ends.
    """

    operations: tuple[str, ...] = ("*",)
    quota: Quota = Quota()
    price_per_call_minor: int = 0
    currency: str | None = None
    notice_days: int = 0
    pack: Pack | None = None
    plan: PricePlan | None = None
    renews_months: int = 0

    @property
    def prices(self) -> PricePlan | None:
        """The plan, also of a price for each call that was said in the simple way. None: free."""
        if self.plan is not None or not self.price_per_call_minor:
            return self.plan
        assert self.currency is not None, "a price has a currency"
        price = Decimal(f"{self.price_per_call_minor}e-{places_of(self.currency)}")
        return PricePlan(per_call=(Step(price),))

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> ServiceTerms:
        """From JSON; BadTerms names the path of what is wrong."""
        _only(
            raw,
            "terms",
            [
                *("operations", "quota", "price_per_call_minor", "currency", "notice_days"),
                *("pack", "plan", "renews_months"),
            ],
        )
        operations = raw.get("operations", ["*"])
        if not isinstance(operations, list) or not 0 < len(operations) <= MOST_OPERATIONS:
            raise _bad("terms.operations", operations, f"a list of 1 to {MOST_OPERATIONS}")
        for n, operation in enumerate(operations):
            if not isinstance(operation, str) or not _OPERATION.fullmatch(operation):
                raise _bad(f"terms.operations.{n}", operation, "a name, or `METHOD /path` with *")
        price_minor = _whole(raw, "price_per_call_minor", 0, MOST, 0)
        pack = Pack.parse(raw.get("pack"))
        if pack is not None and price_minor:
            raise _bad(
                "terms.price_per_call_minor", price_minor, "0: calls of a pack are paid for already"
            )
        plan = None if raw.get("plan") is None else PricePlan.parse(raw["plan"])
        if plan is not None and price_minor:
            raise _bad("terms.price_per_call_minor", price_minor, "0: the plan says the price")
        if plan is not None and plan.priced and pack is not None:
            raise _bad(
                "terms.plan", None, "no price of calls: calls of a pack are paid for already"
            )
        currency = raw.get("currency")
        if currency is not None:
            places_of(_text(currency, "terms.currency"))
        elif price_minor or plan is not None or (pack is not None and pack.price_minor):
            raise _bad("terms.currency", None, "a price has a currency")
        return cls(
            operations=tuple(operations),
            quota=Quota.parse(raw.get("quota", {})),
            price_per_call_minor=price_minor,
            currency=currency,
            notice_days=_whole(raw, "notice_days", 0, LONGEST_NOTICE_DAYS, 0),
            pack=pack,
            plan=plan,
            renews_months=_whole(raw, "renews_months", 0, LONGEST_RENEWAL_MONTHS, 0),
        )

    def allow(self, operation: str) -> bool:
        """Whether they are about an operation, by its name or as `METHOD /path`."""
        return "*" in self.operations or any(
            pattern == operation or fnmatchcase(operation, pattern) for pattern in self.operations
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "operations": list(self.operations),
            "quota": self.quota.to_json(),
            "price_per_call_minor": self.price_per_call_minor,
            "currency": self.currency,
            "notice_days": self.notice_days,
            **({} if self.pack is None else {"pack": self.pack.to_json()}),
            **({} if self.plan is None else {"plan": self.plan.to_json()}),
            **({"renews_months": self.renews_months} if self.renews_months else {}),
        }


@dataclass(frozen=True, slots=True)
class RoamingTerms:
    """What an EVSE operator asks of an EVSP for its customers' charges.

    `vat_percent` None: the tariff's price components say it. `evses` None: all of the operator's;
    else EVSE ids in their normal form, a last `*` standing for whatever follows. Agreements that
    name the same `clearing_group` (and strategy) are cleared with each other, and with no others.
    `tariff_groups`: charge points with a tariff of their own, the first that covers one counts.
    """

    currency: str
    tariff: Tariff
    vat_percent: Decimal | None
    time_zone: str
    payment_terms_days: int
    clearing_strategy: Strategy
    evses: tuple[str, ...] | None
    clearing_group: str | None = None
    tariff_groups: tuple[TariffGroup, ...] = ()
    notice_days: int = 0
    renews_months: int = 0

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> RoamingTerms:
        """From JSON; BadTerms (or BadTariff, BadMoney) names the path of what is wrong."""
        _only(
            raw,
            "terms",
            [
                *("currency", "tariff", "vat_percent", "time_zone", "payment_terms_days"),
                *("clearing_strategy", "evses", "clearing_group", "tariff_groups"),
                *("notice_days", "renews_months"),
            ],
        )
        currency = _text(raw.get("currency"), "terms.currency")
        places_of(currency)
        strategy = raw.get("clearing_strategy", Strategy.MULTILATERAL.value)
        if strategy not in list(Strategy):
            raise _bad("terms.clearing_strategy", strategy, ", ".join(Strategy))
        evses = patterns(raw.get("evses"), "terms.evses")
        vat_percent = percent(raw, "terms")
        groups = raw.get("tariff_groups")
        return cls(
            currency=currency,
            tariff=Tariff.parse(raw.get("tariff"), currency=currency),
            vat_percent=vat_percent,
            time_zone=_time_zone(raw.get("time_zone"), "terms.time_zone"),
            payment_terms_days=_whole(raw, "payment_terms_days", 0, LONGEST_PAYMENT_DAYS, 30),
            clearing_strategy=Strategy(strategy),
            evses=evses,
            clearing_group=_group(raw.get("clearing_group")),
            tariff_groups=tariff_groups(groups, currency, evses=evses, vat_percent=vat_percent),
            notice_days=_whole(raw, "notice_days", 0, LONGEST_NOTICE_DAYS, 0),
            renews_months=_whole(raw, "renews_months", 0, LONGEST_RENEWAL_MONTHS, 0),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "currency": self.currency,
            "tariff": self.tariff.to_json(),
            "vat_percent": None if self.vat_percent is None else format(self.vat_percent, "f"),
            "time_zone": self.time_zone,
            "payment_terms_days": self.payment_terms_days,
            "clearing_strategy": self.clearing_strategy.value,
            "evses": None if self.evses is None else list(self.evses),
            # Left out where there is none: terms of before are still the same texts.
            **({} if self.clearing_group is None else {"clearing_group": self.clearing_group}),
            **(
                {"tariff_groups": [group.to_json() for group in self.tariff_groups]}
                if self.tariff_groups
                else {}
            ),
            **({"notice_days": self.notice_days} if self.notice_days else {}),
            **({"renews_months": self.renews_months} if self.renews_months else {}),
        }


Terms = ServiceTerms | RoamingTerms


def parse_terms(service: str, raw: object) -> Terms:
    """The terms of an offering of `service`, from JSON."""
    if not isinstance(raw, Mapping):
        raise _bad("terms", raw, "an object")
    _check_texts(raw, "terms", 0)
    return RoamingTerms.parse(raw) if service == ROAMING else ServiceTerms.parse(raw)


@dataclass(frozen=True, slots=True)
class Offering:
    """`valid_from` None: a contract begins when the offering is accepted; else both times are the
    contract's, `valid_until` excluded. `clauses_digest` None: of a time before there were any.
    `environment`: whose calls its contracts are for, those that count or those that are tried."""

    offering_id: str
    service: str
    major: int
    provider: PartyId
    terms: Terms
    audience: Audience
    valid_from: datetime | None
    valid_until: datetime | None
    status: Status
    published_at: datetime
    clauses_digest: bytes | None = None
    environment: Environment = Environment.LIVE

    @property
    def sandbox(self) -> bool:
        return self.environment is Environment.SANDBOX

    def seen_by(self, party: PartyId, roles: Collection[str]) -> bool:
        if party == self.provider:
            return True
        return self.status is Status.PUBLISHED and self.audience.includes(party, roles)


def checked(offering: Offering) -> Offering:
    """The offering itself; BadOffering names what is wrong with its times."""
    for field, moment in (
        ("valid_from", offering.valid_from),
        ("valid_until", offering.valid_until),
    ):
        if moment is not None and moment.tzinfo is None:
            raise BadOffering(
                "a time without its offset", field=field, value=moment, rule="RFC 3339 with offset"
            )
    begins, ends = offering.valid_from or offering.published_at, offering.valid_until
    if ends is not None and ends <= begins:
        raise BadOffering(
            "it would end before it begins",
            field="valid_until",
            value=ends.isoformat(),
            rule=f"after {begins.isoformat()}",
        )
    return offering


@contextmanager
def in_row(n: int, of: int) -> Iterator[None]:
    """Where several are offered at once, what is refused says of which: `17.terms.currency`."""
    try:
        yield
    except Refusal as refusal:
        if of > 1:
            refusal.field = f"{n}.{refusal.field}" if refusal.field else str(n)
            refusal.detail = f"offering {n + 1} of {of}: {refusal.detail}"
        raise


def may_offer(
    service: str, service_provider: PartyId, party: PartyId, roles: Collection[str]
) -> None:
    """NotYourServiceToOffer unless the party may offer the service."""
    if party == service_provider:
        return
    if service == ROAMING and Role.EVSE_OPERATOR in roles:
        return
    raise NotYourServiceToOffer(
        "a service is offered by its provider; roaming, by EVSE operators",
        field="service",
        value=service,
        rule=f"offered by {service_provider}",
    )


def check_operations(offering: Offering, known: Sequence[str]) -> None:
    """BadTerms for an operation that the service does not have: a contract on it would cover
    nothing. Patterns `METHOD /path` are for what a service does besides; without names, all is."""
    if not known or not isinstance(offering.terms, ServiceTerms):
        return
    for n, asked in enumerate(offering.terms.operations):
        if " " not in asked and not any(fnmatchcase(name, asked) for name in known):
            names = ", ".join(known)
            rule = names if len(names) <= 500 else names[:500] + " …"
            raise _bad(f"terms.operations.{n}", asked, f"`METHOD /path`, or one of: {rule}")


def kind_of(service: Service) -> Kind:
    """What kind of contract a service has: which modules of the framework it takes."""
    if service.name == ROAMING:
        return Kind.ROAMING
    if service.name == LOAD_MANAGEMENT or LOAD_MANAGEMENT in service.tags:
        return Kind.LOAD_MANAGEMENT
    return Kind.TOPIC if service.protocol is Protocol.TOPIC else Kind.CALL


def said(offering: Offering, service: Service) -> dict[str, Any]:
    """All that an offering says beside its clauses: what clauses may say in words."""
    told: dict[str, Any] = offering.terms.to_json() | {
        "provider": str(offering.provider),
        "provider_is_hub": service.of_hub and service.provider == offering.provider,
        "service": offering.service,
        "major": offering.major,
        "environment": offering.environment.value,
        "valid_from": offering.valid_from and offering.valid_from.isoformat(),
        "valid_until": offering.valid_until and offering.valid_until.isoformat(),
    }
    for name in ("evses", "tariff_groups"):
        # Thousands of charge points are named in the terms; a clause says how many.
        if told.get(name):
            told[f"{name}_named"] = len(told[name])
    return told


def check_going_on(service: Service) -> None:
    """ServiceEnding for a service that has a sunset, or has had it."""
    if service.status is ServiceStatus.RETIRED or service.sunset is not None:
        raise ServiceEnding(
            "the service comes to its end: nobody makes a contract on it any more",
            field="service",
            value=f"{service.name} v{service.major}",
            rule=f"one of its other versions: GET /marketplace/services/{service.name}",
        )


def check_published(service: Service, *, sandbox: bool) -> None:
    """ServiceNotPublished where contracts would cost what cannot be called yet."""
    if service.status is ServiceStatus.DRAFT or (
        service.status is ServiceStatus.IN_TEST and not sandbox
    ):
        raise ServiceNotPublished(
            f"the service is {service.status} yet: it may be offered, and is agreed upon later",
            field="service",
            value=f"{service.name} v{service.major}",
            rule=f"once {service.provider} has published it; for the sandbox, put it in test",
        )


def check_environment(offering: Offering, *, callable: bool) -> None:
    """BadOffering: the sandbox is for calls, and nothing else is tried there."""
    if offering.sandbox and not callable:
        raise BadOffering(
            f"{offering.service} is not called, and has no sandbox",
            field="environment",
            value=offering.environment,
            rule=Environment.LIVE.value,
        )


def check_limits(offering: Offering, *, callable: bool) -> None:
    """BadTerms for limits on what is not called: they would be promised, and nobody counts them."""
    terms = offering.terms
    if callable or not isinstance(terms, ServiceTerms):
        return
    limits = (("quota", terms.quota, Quota()), ("pack", terms.pack, None))
    for name, asked, none in limits:
        if asked is not None and asked != none:
            rule = "none: events come as they are told; price_per_call_minor or a plan has a price"
            raise _bad(f"terms.{name}", asked.to_json(), rule)


def withdrawn(offering: Offering) -> Offering:
    """The offering when it is no longer made; contracts from it stay."""
    return replace(offering, status=Status.WITHDRAWN)


_OPERATION = re.compile(r"[!-~](?:[ -~]{0,198}[!-~])?")
_GROUP = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def _group(raw: object) -> str | None:
    if raw is None:
        return None
    if not isinstance(raw, str) or not _GROUP.fullmatch(raw):
        raise _bad("terms.clearing_group", raw, "null, or a name of a-z, 0-9 and -, at most 32")
    return raw


def _limit(raw: Mapping[str, Any], key: str, path: str) -> int | None:
    value = raw.get(key)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= MOST:
        raise _bad(f"{path}.{key}", value, f"null or 1 to {MOST}")
    return value


def _check_texts(value: object, path: str, depth: int) -> None:
    """Nothing that PostgreSQL cannot keep as JSON, and nothing deep enough to exhaust a reader."""
    if depth > _DEEPEST:
        raise _bad(path[:200], None, f"at most {_DEEPEST} levels")
    if isinstance(value, str):
        if _UNKEEPABLE.search(value):
            raise _bad(path[:200], None, "whole Unicode characters without NUL")
    elif isinstance(value, Mapping):
        for key, member in value.items():
            _check_texts(key, path, depth)
            _check_texts(member, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for n, member in enumerate(value):
            _check_texts(member, f"{path}.{n}", depth + 1)
