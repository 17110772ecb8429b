"""An offer's clauses: what is asked for, what is required besides, and what is still missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.framework import parameters as rules
from marketplace.framework import wording
from marketplace.framework.model import (
    BadClause,
    Clause,
    Clauses,
    Kind,
    Library,
    Module,
    Need,
    OfferingIncomplete,
    UnknownModule,
)

Asked = Mapping[str, Any]
"""By name of the module: its parameters; {"version": …, "parameters": …}; or null, which is its
standard form."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What came of it. `missing`: required, not mentioned, and without a standard form."""

    clauses: Clauses
    standard: frozenset[str]
    missing: tuple[str, ...]

    def complete(self) -> Clauses:
        """The clauses; OfferingIncomplete names all that is missing."""
        if self.missing:
            raise OfferingIncomplete(
                f"the offer does not say: {', '.join(self.missing)}",
                field="clauses",
                value=", ".join(self.missing),
                rule="each of these is required and has no standard form: give its parameters",
            )
        return self.clauses


def draft(library: Library, kind: Kind, asked: Asked, terms: Mapping[str, Any]) -> Draft:
    """The clauses of an offer of this kind. `terms`: all that the offer says otherwise, as JSON.

    BadClause, for a module that there is not as well.
    """
    for name in asked:
        _known(library, kind, name)
    chosen: list[tuple[Module, Clause]] = []
    standard, missing = set(), []
    for module in library.current():
        name, need = module.name, module.kinds.get(kind)
        if name in asked:
            chosen.append(_asked(library, kind, name, asked[name], terms))
            if asked[name] is None:
                standard.add(name)
        elif need is not Need.REQUIRED:
            continue
        elif module.from_terms or module.standard is not None:
            chosen.append((module, _clause(module, None, terms)))
            standard.add(name)
        else:
            missing.append(name)
    chosen.sort(key=lambda one: (one[0].place, one[0].name))
    clauses = Clauses(tuple(clause for _, clause in chosen))
    return Draft(clauses, frozenset(standard), tuple(missing))


def _known(library: Library, kind: Kind, name: str) -> None:
    fitting = [one.name for one in library.current() if kind in one.kinds]
    if name not in fitting:
        raise BadClause(
            f"contracts of kind {kind} have no module {name[:100]!r}",
            field=f"clauses.{name[:100]}",
            value=name[:100],
            rule=f"one of: {', '.join(fitting)}",
        )


def _asked(
    library: Library, kind: Kind, name: str, told: object, terms: Mapping[str, Any]
) -> tuple[Module, Clause]:
    path = f"clauses.{name}"
    if told is not None and not isinstance(told, Mapping):
        raise BadClause(
            "a clause is told by its parameters",
            field=path,
            value=str(told)[:100],
            rule="an object of parameters, or null for the standard form",
        )
    version = None
    if told is not None and told.keys() & {"version", "parameters"}:
        for key in told:
            if key not in ("version", "parameters"):
                raise BadClause(
                    "beside a version stand its parameters",
                    field=f"{path}.{str(key)[:100]}",
                    rule="version and parameters only",
                )
        version, told = told.get("version"), told.get("parameters")
        path += ".parameters"
    module = _version(library, kind, name, version)
    if told is not None and module.from_terms:
        raise BadClause(
            f"{name} is said by the terms",
            field=path,
            rule="say it in `terms`, and leave the clause out or null",
        )
    if told is not None and not isinstance(told, Mapping):
        raise BadClause(
            "parameters are an object", field=path, value=str(told)[:100], rule="an object, or null"
        )
    if told is None and module.standard is None and not module.from_terms:
        raise BadClause(f"{name} has no standard form", field=path, rule="its parameters")
    return module, _clause(module, told, terms, path)


def _version(library: Library, kind: Kind, name: str, version: object) -> Module:
    field = f"clauses.{name}.version"
    if version is None:
        return library.find(name)
    if type(version) is not int:
        raise BadClause(
            "a version is a number", field=field, value=str(version)[:100], rule="a whole number"
        )
    try:
        module = library.find(name, version)
    except UnknownModule as unknown:
        raise BadClause(unknown.detail, field=field, value=version, rule=unknown.rule) from None
    if kind not in module.kinds:
        raise BadClause(
            f"version {version} of {name} is not for contracts of kind {kind}",
            field=field,
            value=version,
            rule=f"for: {', '.join(sorted(module.kinds))}",
        )
    return module


def _clause(
    module: Module, told: Mapping[str, Any] | None, terms: Mapping[str, Any], path: str = ""
) -> Clause:
    path = path or f"clauses.{module.name}"
    if module.from_terms:
        path = "terms"
        told = {name: terms[name] for name in module.properties if terms.get(name) is not None}
    elif told is None:
        told = module.standard or {}
    rules.check(module, told, path)
    text = wording.text_of(module, told)
    return Clause(module.name, module.version, module.title, told, text)
