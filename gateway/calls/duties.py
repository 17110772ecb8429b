"""What a person may do, by what it asks for: the duty that each write needs, and none by default.

A person looks at all that its party sees; what changes something needs one of the duties below.
A write that no rule names is refused, so that a new route is closed to people until somebody has
said whose affair it is. Programs are not held to this: they have scopes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from gateway.calls.refusals import DutyMissing

ADMIN, CONTRACTS, FINANCE, OPERATIONS = "admin", "contracts", "finance", "operations"
READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Rule(NamedTuple):
    """Below `path` (`*`: any one part) a write needs one of `duties`; none: it is for everybody.

    `reserved`: it was thought of before there was such a write.
    """

    path: tuple[str, ...]
    duties: frozenset[str]
    reserved: bool = False


def _rule(path: str, *duties: str, reserved: bool = False) -> Rule:
    return Rule(tuple(path.strip("/").split("/")), frozenset(duties), reserved)


# The first that fits holds.
RULES: tuple[Rule, ...] = (
    # Each its own log-in.
    _rule("/marketplace/people"),
    _rule("/marketplace/partners/*/people", ADMIN),
    _rule("/marketplace/partners/*/clients/*", ADMIN),
    # Clients that try things out are the technicians' affair, too: the route tells them apart.
    _rule("/marketplace/partners/*/clients", ADMIN, OPERATIONS),
    _rule("/marketplace/partners/*/endpoints", OPERATIONS),
    _rule("/marketplace/partners", ADMIN),
    _rule("/marketplace/applications", ADMIN),
    _rule("/marketplace/services", OPERATIONS),
    _rule("/marketplace/offerings", CONTRACTS),
    _rule("/marketplace/contracts", CONTRACTS),
    _rule("/marketplace/negotiations", CONTRACTS),
    _rule("/marketplace/messages", CONTRACTS),
    _rule("/marketplace/modules", CONTRACTS, reserved=True),
    _rule("/marketplace/framework", CONTRACTS, reserved=True),
    _rule("/marketplace/roaming", CONTRACTS, reserved=True),
    _rule("/marketplace/invoices", FINANCE),
    _rule("/marketplace/billing-runs", FINANCE),
    _rule("/marketplace/fees", FINANCE),
    _rule("/marketplace/reports", FINANCE, OPERATIONS, reserved=True),
    _rule("/topics", OPERATIONS),
    _rule("/events", OPERATIONS, reserved=True),
    _rule("/commands", OPERATIONS, reserved=True),
    _rule("/central-system", OPERATIONS),
    # Asked, and nothing is changed by it.
    _rule("/services/contract-validation", CONTRACTS, FINANCE, OPERATIONS),
    # Calls of services, the clearing house among them: they are a program's affair, as a rule.
    _rule("/services", OPERATIONS),
)


def rule_of(path: str) -> Rule | None:
    """The rule for writes at a path; None: there is none."""
    parts = path.strip("/").split("/")
    for rule in RULES:
        if len(rule.path) <= len(parts) and all(
            wanted in ("*", part) for wanted, part in zip(rule.path, parts, strict=False)
        ):
            return rule
    return None


def require(method: str, path: str, duties: Collection[str]) -> None:
    """Raises DutyMissing where a person with these duties may not."""
    if method in READS and duties:
        return
    rule = rule_of(path)
    if rule is not None and (not rule.duties or not rule.duties.isdisjoint(duties)):
        return
    needed = "no duty is for this" if rule is None else " or ".join(sorted(rule.duties))
    raise DutyMissing(
        "this is not among the duties of the person who calls",
        field="duties",
        value=", ".join(sorted(duties)),
        rule=f"needed: {needed}" if rule is not None else "a program of the party may do it",
    )
