"""The day as it plays, as a person sees it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clearinghouse.netting.model import Period, Strategy
from gridroam import office, office_clearing
from kit.clock import utc_now
from kit.event_log import NewEvent
from roaming.party import PartyId
from tests.browser.chrome import DESKTOP, ENTER, PHONE, TAB, Browser, Viewport, browser
from tests.browser.conftest import Site
from tests.console import entries
from tests.flows.world import CARD, EVSE, OTHER_EVSE, world
from tests.hub import CLEARING_HOUSE, Hub

PARIS_NOON = "13:00"  # entries.NOON is UTC
NOTHING = "\N{EN DASH}"
# Two EVSPs that owe, two operators that are owed, and one partner that is both: three payments do.
DEBTS = [
    ("NL*ALF", "FR*PD1", "40.00"),
    ("NL*ALF", "FR*ABC", "10.00"),
    ("DE*BET", "FR*PD1", "20.00"),
    ("DE*BET", "FR*ABC", "5.00"),
    ("FR*ABC", "FR*PD1", "3.00"),
]
PARTIES = {"NL*ALF", "DE*BET", "FR*PD1", "FR*ABC"}


def debts(currency: str = "EUR") -> list[NewEvent]:
    return [
        entries.cdr("FRPD1E1", debtor, amount, creditor=creditor, currency=currency)
        for debtor, creditor, amount in DEBTS
    ]


async def opened(page: Browser, site: Site) -> None:
    await page.open(site.page)
    await page.until_text("#link", "live")


async def focused_party(page: Browser) -> list[str] | None:
    """Which ring has the focus, and at which partner; None outside of both."""
    found: list[str] | None = await page.run(
        "const at = document.activeElement; const svg = at.closest('svg');"
        "return svg && [svg.id, at.dataset.party]"
    )
    return found


async def test_before_the_first_charge_it_says_that_it_waits(site: Site, desktop: Browser) -> None:
    await opened(desktop, site)
    assert await desktop.text("#story") == "Waiting for the first charge…"
    assert await desktop.text("#point") == "No charge points yet."
    await desktop.until("return document.querySelectorAll('svg .empty').length === 2")
    assert await desktop.texts("svg .empty") == ["No debts yet.", "Nothing to pay yet."]
    assert await desktop.text("#reasons") == "Nobody so far."
    assert await desktop.text("#clock") == NOTHING
    assert await desktop.complaints() == []


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_the_page_shows_what_happens_as_it_happens(
    site: Site, hub: Hub, chromedriver: str, tmp_path: Path, viewport: Viewport
) -> None:
    operator = await hub.partner("FR*PD1", "evse-operator")
    await operator.provides("FR*PD1*E1", "FR*PD1*E2", "FR*PD1*E3")
    async with browser(chromedriver, tmp_path / "profile", viewport) as page:
        await opened(page, site)
        await page.until_text("#point", "3 charge points of 1 operator")
        await site.tell(
            entries.authorised("FRPD1E1"),
            entries.started("FR*PD1*E1"),
            entries.started("FR*PD1*E2"),
            entries.stopped("FR*PD1*E2"),
            entries.refused("FRPD1E3", "no-roaming-agreement", evsp="DE*BET"),
            entries.refused("FRPD1E3", "no-roaming-agreement", evsp="DE*BET"),
            entries.refused("FRPD1E3", "unknown-contract"),
            *debts(),
            entries.delivered(4),
        )
        await page.until_text("#n-delivered", "4")
        shown = {
            name: await page.text(f"#n-{name}")
            for name in ("charging", "authorised", "refused", "cdrs", "energy")
        }
        assert shown == {
            **{"charging": "1", "authorised": "1", "refused": "3", "cdrs": "5"},
            "energy": "100.0 kWh",
        }
        assert PARIS_NOON in await page.text("#clock")
        assert await page.texts(".reason b") == ["2", "1"]
        await page.until_text("#refusals li:first-child", "unknown card at FR*PD1 Ltd")
        assert "card unknown" in await page.text("#refusals li:first-child")
        assert "customer of DE*BET at FR*PD1 Ltd" in await page.text("#refusals li:last-child")
        await page.until_text("#before-sum", "5 debts, €78.00")
        assert await page.text("#after-sum") == "3 payments, €75.00 · as it stands"
        for ring, ribbons in (("before", 5), ("after", 3)):
            assert await page.count(f"#{ring} .ribbon") == ribbons
            assert len(await page.texts(f"#{ring} .node text")) == len(PARTIES)
        await page.click("#table summary")
        await page.until("return document.querySelectorAll('#payments tr').length")
        rows = [row.split("\t") for row in await page.texts("#payments tr")]
        assert ["NL*ALF", "FR*PD1 Ltd", "€40.00", "€50.00"] in rows
        assert sum(row[3] != NOTHING for row in rows) == 3
        assert await page.run("return document.documentElement.scrollWidth") == viewport.width
        assert await page.complaints() == []
        # The rest is the browser's own, out of its own files: chrome://new-tab-page/ and data:.
        asked = [url for url in await page.requests() if url.startswith(("http", "ws"))]
        assert f"{site.url}/console/events" in asked
        assert [url for url in asked if not url.startswith(f"{site.url}/console")] == []


def record(cdr_id: str, ended: datetime) -> dict[str, Any]:
    """20 kWh in the hour before; 10.00 EUR under the agreement."""
    start = (ended - timedelta(hours=1)).isoformat()
    return {
        "cdr_id": cdr_id,
        "evse_id": EVSE,
        "token_uid": CARD,
        "start": start,
        "end": ended.isoformat(),
        "energy_wh": 20_000,
        "periods": [{"start": start, "energy_wh": 20_000}],
    }


async def test_a_real_charge_from_the_card_to_the_cleared_day(
    site: Site, hub: Hub, desktop: Browser
) -> None:
    day = await world(hub)
    await opened(desktop, site)
    ended = utc_now().replace(microsecond=0) - timedelta(minutes=1)
    await day.operator.asks(OTHER_EVSE, "NOBODYS-CARD")
    await desktop.until_text("#refusals", "card unknown")
    await day.operator.asks(EVSE, CARD)
    await desktop.until_text("#n-charging", "1")
    await day.operator.post(f"{CLEARING_HOUSE}/cdrs", record("cdr-1", ended))
    await desktop.until_text("#before-sum", "1 debt, €10.00")
    assert await desktop.text("#n-charging") == "0"
    assert (await desktop.text("#story")).startswith("Drivers charge at other companies' points")
    period = Period(ended - timedelta(days=1), ended + timedelta(days=1))
    await office_clearing.clear(hub.parts, period, "EUR", Strategy.MULTILATERAL)
    await desktop.until_text(
        "#story", "The day is cleared: 1 debt of €10.00 became 1 payment of €10.00."
    )
    await desktop.until_text("#after-sum", "· cleared")
    await day.operator.post(f"{CLEARING_HOUSE}/cdrs", record("cdr-2", ended - timedelta(hours=2)))
    await desktop.until_text("#after-sum", "1 payment, €20.00 · as it stands")
    assert "cleared:" not in await desktop.text("#story")
    assert await desktop.complaints() == []


async def test_with_the_keyboard_alone_every_partner_is_reached_and_told(
    site: Site, desktop: Browser
) -> None:
    await site.tell(*debts())
    await opened(desktop, site)
    await desktop.until_text("#before-sum", "5 debts")
    await desktop.press(TAB)
    assert await desktop.run("return document.activeElement.className") == "skip"
    reached: dict[str, str] = {}
    for _ in range(2 * len(PARTIES)):
        await desktop.press(TAB)
        at = await focused_party(desktop)
        assert at is not None
        ring, party = at
        told = await desktop.text("#party")
        assert told.startswith(f"{party} ({party}) ")
        reached[f"{ring} {party}"] = told
    assert reached.keys() == {f"{ring} {one}" for ring in ("before", "after") for one in PARTIES}
    assert reached["before FR*PD1"] == (
        "FR*PD1 (FR*PD1) is paid €63.00 in 3 debts; after netting it is paid €63.00 in 2 payments."
    )
    await desktop.press(TAB)
    assert await desktop.run("return document.activeElement.tagName") == "SUMMARY"
    await desktop.press(ENTER)
    await desktop.until("return document.querySelectorAll('#payments tr').length")
    await desktop.press(TAB)
    assert await desktop.complaints() == []


async def test_the_skip_link_leads_past_the_rings(site: Site, desktop: Browser) -> None:
    await opened(desktop, site)
    await desktop.press(TAB)
    await desktop.press(ENTER)
    await desktop.until("return document.activeElement.id === 'refused'")
    await desktop.press(TAB)
    assert await desktop.run("return document.activeElement.id") == "refusals"


async def test_who_looks_at_a_partner_keeps_it_while_the_books_fill(
    site: Site, desktop: Browser
) -> None:
    await site.tell(*debts())
    await opened(desktop, site)
    await desktop.until_text("#before-sum", "5 debts")
    at = "document.querySelector('#before [data-party=\"FR*ABC\"] circle').getBoundingClientRect()"
    x, y = await desktop.run(f"const b = {at}; return [b.x + b.width / 2, b.y + b.height / 2]")
    await desktop.point(round(x), round(y))
    await desktop.until_text("#party", "FR*ABC (FR*ABC) pays €3.00 in 1 debt and is paid €15.00")
    ribbons_of = "return document.querySelectorAll('#before .ribbon.of').length"
    assert await desktop.run(ribbons_of) == 3
    assert await desktop.count("#after.picked") == 1
    await site.tell(entries.cdr("FRPD1E1", "IT*GAM", "7.00", creditor="FR*ABC"))
    await desktop.until_text("#before-sum", "6 debts")
    await desktop.until_text("#party", "is paid €22.00 in 3 debts")
    assert await desktop.run(ribbons_of) == 4


async def test_a_page_that_opens_in_mid_day_shows_all_of_it(site: Site, desktop: Browser) -> None:
    await site.tell(
        entries.started("FR*PD1*E1"), entries.refused("FRPD1E2", "contract-blocked"), *debts()
    )
    await opened(desktop, site)
    await desktop.until_text("#before-sum", "5 debts, €78.00")
    await desktop.until_text("#refusals", "contract blocked")
    assert await desktop.text("#n-charging") == "1"
    await desktop.open(site.page)
    await desktop.until_text("#before-sum", "5 debts, €78.00")
    assert await desktop.text("#n-cdrs") == "5"


async def test_when_the_hub_comes_back_the_page_goes_on_by_itself(
    site: Site, desktop: Browser
) -> None:
    await site.tell(*debts())
    await opened(desktop, site)
    await desktop.until_text("#n-cdrs", "5")
    await site.stop()
    await desktop.until_text("#link", "reconnecting…")
    await site.tell(entries.cdr("FRPD1E1", "NL*ALF", "2.00"))
    assert await desktop.text("#n-cdrs") == "5"
    await site.start()
    await desktop.until_text("#link", "live", within_s=30)
    await desktop.until_text("#before-sum", "5 debts, €80.00")
    assert await desktop.text("#n-cdrs") == "6"


async def test_each_currency_has_its_rings(site: Site, desktop: Browser) -> None:
    await site.tell(*debts(), entries.cdr("FRPD1E1", "NL*ALF", "9.00", currency="CHF"))
    await opened(desktop, site)
    await desktop.until_text("#before-sum", "5 debts, €78.00")
    assert await desktop.texts("#currencies button") == ["CHF", "EUR"]
    await desktop.click("#currencies button:first-child")
    await desktop.until_text("#before-sum", "1 debt, CHF")
    assert await desktop.texts("#currencies [aria-pressed=true]") == ["CHF"]
    assert await desktop.count("#after .ribbon") == 1
    await site.tell(*debts())
    await desktop.until_text("#n-cdrs", "11")
    assert "CHF" in await desktop.text("#before-sum")


async def test_a_reader_who_wants_calm_sees_no_growing_rings(site: Site, desktop: Browser) -> None:
    for wish, sizes in (("no-preference", "several"), ("reduce", "one")):
        await desktop.prefer(prefers_reduced_motion=wish)
        await opened(desktop, site)
        await desktop.run(
            "window.radii = new Set(); const draw = CanvasRenderingContext2D.prototype;"
            "draw.arc = function (x, y, radius) { window.radii.add(radius); };"
        )
        # The places that the page asked for may come meanwhile, and take ours away: then once more.
        await desktop.until(
            "if (day.flashes.size > 0) return false;"
            "if (window.radii.size > 0) return true;"
            "day.places = [{ evse: 'E', operator: 'O', lat: 1, lon: 1, x: 9, y: 9 }];"
            "day.byEvse = new Map([['E', day.places[0]]]); flash('E', 'no'); return false;"
        )
        found = await desktop.run("return window.radii.size")
        assert (found > 3) is (sizes == "several")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_many_partners_with_long_names_stay_legible(
    site: Site, hub: Hub, chromedriver: str, tmp_path: Path, viewport: Viewport
) -> None:
    parties = [f"FR*{first}{second}1" for first in "ABCDEF" for second in "GHIJKLMN"]
    for party in parties[:6]:
        await office.register(
            hub.parts,
            PartyId(party),
            frozenset(),
            "Vereinigte Ladestromgenossenschaften am Oberrhein und in den Vogesen mbH & Co. KGaA",
        )
    half = len(parties) // 2
    await site.tell(
        *(
            entries.cdr("FRPD1E1", debtor, "1234567.89", creditor=creditor)
            for debtor, creditor in zip(parties[:half], reversed(parties[half:]), strict=True)
        )
    )
    async with browser(chromedriver, tmp_path / "profile", viewport) as page:
        await opened(page, site)
        await page.until("return document.querySelectorAll('#before .node').length === 48")
        assert await page.run("return document.documentElement.scrollWidth") == viewport.width
        outside = await page.run(
            "return [...document.querySelectorAll('.rings svg')].flatMap((svg) => {"
            "  const box = svg.getBoundingClientRect();"
            "  return [...svg.querySelectorAll('text')].filter((text) => {"
            "    const b = text.getBoundingClientRect();"
            "    return b.left < box.left - 1 || b.right > box.right + 1"
            "      || b.top < box.top - 1 || b.bottom > box.bottom + 1;"
            "  }).map((text) => text.textContent);"
            "})"
        )
        assert outside == []
        labels = await page.texts("#before .node text")
        assert len(set(labels)) == len(parties)
        assert await page.complaints() == []


async def test_a_busy_hour_is_shown_whole_and_the_page_stays_awake(
    site: Site, desktop: Browser
) -> None:
    await opened(desktop, site)
    await desktop.run(
        "window.frames = 0; const count = () => { window.frames++; requestAnimationFrame(count); };"
        "requestAnimationFrame(count);"
    )
    for batch in range(10):
        told = [
            event
            for number in range(250)
            for event in (
                entries.authorised(f"FRPD1E{batch}N{number}"),
                entries.refused(f"FRPD1E{batch}N{number}", "contract-blocked"),
                entries.cdr(f"FRPD1E{batch}N{number}", *DEBTS[number % 5][::2]),
            )
        ]
        await site.tell(*told)
    await desktop.until_text("#n-cdrs", "2,500", within_s=30)
    assert await desktop.text("#n-authorised") == "2,500"
    assert await desktop.text("#n-refused") == "2,500"
    assert await desktop.count("#refusals li") == 60
    assert await desktop.run("return window.frames") > 20
    assert await desktop.complaints() == []
