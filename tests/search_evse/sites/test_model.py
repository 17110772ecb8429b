"""Which word counts when an EVSE is told of more than once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as some

from roaming.party import PartyId
from search_evse.sites import model
from search_evse.sites.model import Held, Intake, Outcome, Status, Told, folded, judge
from tests.search_evse.cuts import NOW, OTHER, told

HOUR = timedelta(hours=1)
FIRST = told("NL*FAS*E1")


def held_after(row: Told, before: Held | None = None) -> Held:
    _, change = judge(row, before, repeated=False, now=NOW)
    assert change is not None
    return change.held


def later(row: Told, by: timedelta, status: Status | None = Status.AVAILABLE) -> Told:
    return replace(row, evse=replace(row.evse, last_updated=NOW + by, status=status))


def test_what_is_not_held_is_created() -> None:
    outcome, change = judge(FIRST, None, repeated=False, now=NOW)
    assert outcome is Outcome.CREATED
    assert change is not None
    assert change.held.status is Status.AVAILABLE


def test_the_same_word_again_changes_nothing() -> None:
    assert judge(FIRST, held_after(FIRST), repeated=False, now=NOW) == (Outcome.UNCHANGED, None)


def test_a_confirmation_only_moves_the_time() -> None:
    outcome, change = judge(later(FIRST, HOUR), held_after(FIRST), repeated=False, now=NOW)
    assert outcome is Outcome.UNCHANGED
    assert change is not None
    assert change.held.last_updated == NOW + HOUR


def test_an_older_word_never_replaces_a_newer_one() -> None:
    older = later(FIRST, -HOUR, Status.CHARGING)
    assert judge(older, held_after(FIRST), repeated=False, now=NOW) == (Outcome.UNCHANGED, None)


def test_a_source_without_statuses_leaves_the_status_alone() -> None:
    renamed = replace(later(FIRST, HOUR, None), site=replace(FIRST.site, name="Markt"))
    outcome, change = judge(renamed, held_after(FIRST), repeated=False, now=NOW)
    assert outcome is Outcome.UPDATED
    assert change is not None
    assert (change.held.status, change.held.status_at) == (Status.AVAILABLE, NOW)


def test_a_status_reported_since_the_file_was_made_stays() -> None:
    reported = replace(held_after(FIRST), status=Status.CHARGING, status_at=NOW + 2 * HOUR)
    outcome, change = judge(later(FIRST, HOUR), reported, repeated=False, now=NOW)
    assert outcome is Outcome.UNCHANGED
    assert change is not None
    assert change.held.status is Status.CHARGING


def test_a_correction_with_the_same_time_counts_in_another_file_but_not_in_the_same() -> None:
    corrected = replace(FIRST, site=replace(FIRST.site, city="Goes"))
    before = held_after(FIRST)
    assert judge(corrected, before, repeated=False, now=NOW)[0] is Outcome.UPDATED
    assert judge(corrected, before, repeated=True, now=NOW) == (Outcome.UNCHANGED, None)


def test_a_provider_speaks_of_its_own_evses_only() -> None:
    mine, anothers = told("DE*ABC*E1"), told("NL*FAS*E1")
    claimed = replace(anothers, site=replace(anothers.site, operator=OTHER))
    handed_over = told("NL*FAS*E2")
    handed_over = replace(handed_over, site=replace(handed_over.site, operator=OTHER))
    intake = Intake(now=NOW, provider=OTHER)
    held = {handed_over.evse.id: held_after(handed_over)}
    news = intake.take([mine, anothers, claimed, handed_over], held)
    assert [change.told for change in news.changes] == [mine]
    assert intake.tally.reasons == {f"evse_id: {model._PROVIDER_RULE}": 2}
    assert [outcome for _, _, outcome in news.outcomes] == [Outcome.CREATED, Outcome.UNCHANGED]


def test_words_are_compared_without_accents_case_and_punctuation() -> None:
    assert folded("  SAINT-Étienne, Straße 5 ") == "saint etienne strasse 5"


rows = some.lists(
    some.builds(
        lambda number, hours, status, name: replace(
            later(told(f"NL*FAS*E{number}", name=name), timedelta(hours=hours), status),
        ),
        some.integers(1, 4),
        some.integers(-3, 3),
        some.sampled_from([None, Status.AVAILABLE, Status.CHARGING, Status.REMOVED]),
        some.sampled_from(["Plein", "Markt"]),
    ),
    max_size=25,
)


@given(rows)
def test_every_row_is_counted_once_and_the_same_file_again_changes_nothing(
    file: list[Told],
) -> None:
    first = Intake(now=NOW)
    held = {change.told.evse.id: change.held for change in first.take(file, {}).changes}
    report = first.tally.report()
    assert report.read == len(file) == report.created + report.updated + report.unchanged
    assert report.created == len({row.evse.id for row in file})
    again = Intake(now=NOW)
    again.take(file, held)
    assert again.tally.report().unchanged == len(file)


@given(rows)
def test_the_newest_word_stands_whatever_the_order(file: list[Told]) -> None:
    held = {change.told.evse.id: change.held for change in Intake(now=NOW).take(file, {}).changes}
    for evse_id, standing in held.items():
        times = [row.evse.last_updated for row in file if row.evse.id == evse_id]
        assert standing.last_updated == max(time for time in times if time is not None)
        assert standing.operator == PartyId("NL*FAS")
