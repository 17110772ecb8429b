"""What a meter signed stands; what was changed since, or signed by another, does not."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pyocmf
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from clearinghouse.meter_values.model import (
    MOST_KEYS,
    MOST_SIGNED_VALUES,
    BadMeterKey,
    Check,
    Outcome,
    Unreadable,
    check,
    keys_of,
    public_key,
    read,
    spelt,
)
from tests.clearinghouse.meter_values.meter import Meter, ocpi

# A KEBA KCP30's own reading, signed by it: sample of the S.A.F.E. e.V. Transparenzsoftware.
KEBA = (
    'OCMF|{"FV":"1.0","GI":"KEBA_KCP30","GS":"17619300","GV":"2.8.5","PG":"T32","IS":false,'
    '"IL":"NONE","IF":["RFID_NONE","OCPP_NONE","ISO15118_NONE","PLMN_NONE"],"IT":"NONE","ID":"",'
    '"RD":[{"TM":"2019-08-13T10:03:15,000+0000 I","TX":"B","EF":"","ST":"G","RV":0.2596,'
    '"RI":"1-b:1.8.0","RU":"kWh"},{"TM":"2019-08-13T10:03:36,000+0000 R","TX":"E","EF":"",'
    '"ST":"G","RV":0.2597,"RI":"1-b:1.8.0","RU":"kWh"}]}|{"SD":"304502200E2F107C987A300AC1695CA89E'
    "A149A8CDFA16188AF0A33EE64B67964AA943F9022100889A72B6D65364BEA8562E7F6A0253157ACFF84FE4929A93B5"
    '964D23C4265699"}'
)
KEBA_KEY = (
    "3059301306072A8648CE3D020106082A8648CE3D030107034200043AEEB45C392357820A58FDFB0857BD77ADA31585"
    "C61C430531DFA53B440AFBFDD95AC887C658EA55260F808F55CA948DF235C2108A0D6DC7D4AB1A5E1A7955BE"
)
# Figure 1 of the specification, OCMF 1.4, "Example File", where its signature is a placeholder.
FIGURE = """OCMF|{"FV":"1.4","GI":"ABL SBC-301","GS":"808829900001","GV":"1.4p3","PG":"T12345",
"MV":"Phoenix Contact","MM":"EEM-350-D-MCB","MS":"BQ27400330016","MF":"1.0","IS":true,
"IL":"VERIFIED","IF":["RFID_PLAIN","OCPP_RS_TLS"],"IT":"ISO14443","ID":"1F2D3A4F5506C7",
"TT":"Tarif 1","LC":{"LN":"cable_name","LI":1,"LR":2,"LU":"mOhm"},"RD":[
{"TM":"2018-07-24T13:22:04,000+0200 S","TX":"B","RV":2935.600,"RI":"01-0B:01.08.00*FF",
 "RU":"kWh","RT":"DC","EF":"","ST":"G"},
{"TM":"2018-07-24T13:26:04,000+0200 S","TX":"E","RV":2965.100,"CL":0.5,"RI":"01-0B:01.08.00*FF",
 "RU":"kWh","RT":"DC","EF":"","ST":"G"},
{"TM":"2018-07-24T13:22:04,000+0200 S","TX":"B","RV":2905.600,"RI":"01-0B:B1.08.00*FF",
 "RU":"kWh","RT":"DC","EF":"","ST":"G"},
{"TM":"2018-07-24T13:26:04,000+0200 S","TX":"E","RV":2934.600,"RI":"01-0B:B1.08.00*FF",
 "RU":"kWh","RT":"DC","EF":"","ST":"G"},
{"TM":"2018-07-24T13:22:04,000+0200 S","TX":"B","RV":0.000,"RI":"01-0B:B3.08.00*FF",
 "RU":"kWh","RT":"DC","EF":"","ST":"G"},
{"TM":"2018-07-24T13:26:04,000+0200 S","TX":"E","RV":29.000,"RI":"01-0B:B3.08.00*FF",
 "RU":"kWh","RT":"DC","EF":"","ST":"G"}]}|{
"SD":"1234567890ABCDEF1234567890ABCDEF1234567890ABCDEF"}"""


def outcome(texts: list[str], registered: tuple[str, ...] = (), **entry: Any) -> Check:
    found = check(ocpi(texts, **entry), registered)
    assert found is not None
    return found


def test_a_published_reading_is_verified_by_its_meters_key() -> None:
    told = outcome([KEBA], (KEBA_KEY,))
    assert (told.outcome, told.signed_wh) == (Outcome.VERIFIED, 0), "0.1 Wh, rounded"
    assert (told.begin, told.end) == (None, None), "its clock was not synchronised"
    changed = outcome([KEBA.replace("0.2597", "9.2597")], (KEBA_KEY,))
    assert (changed.outcome, changed.signed_wh) == (Outcome.INVALID, None)


def test_the_specifications_own_example_is_read_and_its_placeholder_signs_nothing() -> None:
    readings = read(FIGURE).readings
    assert [one.energy_wh for one in readings] == [
        2_935_600,
        2_965_100,
        2_905_600,
        2_934_600,
        0,
        29_000,
    ]
    assert outcome([FIGURE], (KEBA_KEY,)).outcome is Outcome.INVALID
    # Signed for real, the energy that went into the vehicle counts: 29.0 kWh, not the mains' 29.5.
    meter = Meter()
    told = outcome([meter.signs(FIGURE.split("|")[1])], (meter.key,))
    assert (told.outcome, told.signed_wh) == (Outcome.VERIFIED, 29_000)
    assert told.begin == datetime(2018, 7, 24, 11, 22, 4, tzinfo=UTC)
    assert told.end == told.begin + timedelta(minutes=4)


@pytest.mark.parametrize(
    ("curve", "name"),
    [
        (ec.SECP256K1(), "secp256k1"),
        (ec.SECP192R1(), "secp192r1"),
        (ec.SECP256R1(), "secp256r1"),
        (ec.BrainpoolP256R1(), "brainpool256r1"),
        (ec.SECP384R1(), "secp384r1"),
        (ec.BrainpoolP384R1(), "brainpool384r1"),
    ],
)
def test_every_curve_of_the_format_is_verified_as_another_library_does(
    curve: ec.EllipticCurve, name: str
) -> None:
    meter, other = Meter(curve, f"ECDSA-{name}-SHA256"), Meter(curve)
    text = meter.charge()
    assert outcome([text], (meter.key,)).outcome is Outcome.VERIFIED
    assert outcome([text], (other.key,)).outcome is Outcome.INVALID
    if name.startswith("brainpool"):
        return  # which that library takes for unknown curves
    theirs = pyocmf.OCMF.from_string(text)
    assert theirs.verify_signature(meter.key) is True
    assert theirs.verify_signature(other.key) is False


def test_a_key_that_came_along_makes_nothing_verified() -> None:
    meter, thief = Meter(), Meter()
    text = thief.charge()
    assert outcome([text], public_key=thief.key).outcome is Outcome.KEY_UNREGISTERED
    assert outcome([text], (meter.key,), public_key=thief.key).outcome is Outcome.KEY_UNREGISTERED
    assert outcome([text], (meter.key,)).outcome is Outcome.INVALID
    assert outcome([text], public_key=meter.key).outcome is Outcome.INVALID
    assert outcome([text], (meter.key, thief.key)).outcome is Outcome.VERIFIED
    nobody = outcome([text])
    assert (nobody.outcome, nobody.signed_wh) == (Outcome.KEY_UNREGISTERED, None)


def test_begin_and_end_may_come_in_two_texts_of_one_register() -> None:
    meter = Meter()
    begin = meter.signs('{"RD":[{"TX":"B","RV":1.5,"RI":"1-b:1.8.0","RU":"kWh"}]}')
    end = meter.signs('{"RD":[{"TX":"E","RV":3500,"RI":"1-b:1.8.0","RU":"Wh"}]}')
    assert outcome([begin, end], (meter.key,)).signed_wh == 2_000
    assert outcome([begin], (meter.key,)).signed_wh is None
    elsewhere = meter.signs('{"RD":[{"TX":"E","RV":3500,"RI":"1-b:2.8.0","RU":"Wh"}]}')
    assert outcome([begin, elsewhere], (meter.key,)).signed_wh is None
    coded = base64.b64encode(begin.encode()).decode()
    assert outcome([coded, end], (meter.key,)).signed_wh == 2_000


@pytest.mark.parametrize(
    "more", [{"ST": "F"}, {"EF": "E"}, {"EF": "Et"}, {"RU": "mOhm"}, {"RI": "1-0:2.8.0"}]
)
def test_a_reading_that_the_meter_itself_does_not_vouch_for_gives_no_energy(
    more: dict[str, str],
) -> None:
    meter = Meter()
    told = outcome([meter.charge(**more)], (meter.key,))
    assert (told.outcome, told.signed_wh) == (Outcome.VERIFIED, None)


def test_one_bad_value_spoils_the_record() -> None:
    meter = Meter()
    good, changed = meter.charge(), meter.charge().replace("110.00", "210.00")
    assert outcome([good, changed], (meter.key,)).outcome is Outcome.INVALID
    assert outcome([changed, "nonsense"], (meter.key,)).outcome is Outcome.INVALID
    assert outcome([good, "nonsense"], (meter.key,)).outcome is Outcome.UNSUPPORTED


@pytest.mark.parametrize(
    "entries",
    [
        [17],
        [{}],
        [{"ocmf": KEBA}],
        [{"encoding_method": "EDL40", "signed_values": []}],
        [{"encoding_method": "OCMF", "signed_values": []}],
        [{"encoding_method": "OCMF", "signed_values": [17]}],
        [{"encoding_method": "OCMF", "signed_values": [{"signed_data": 17}]}],
        ocpi([KEBA.replace('{"SD"', '{"SA":"ECDSA-secp192k1-SHA256","SD"')]),
        ocpi([KEBA.replace('{"SD"', '{"SA":"RSA","SD"')]),
        ocpi([KEBA.replace('{"SD"', '{"SA":["x"],"SD"')]),
        ocpi([KEBA.replace('{"SD"', '{"SE":"rot13","SD"')]),
        ocpi([KEBA], public_key="no key"),
        ocpi([KEBA] * (MOST_SIGNED_VALUES + 1)),
        ocpi(["OCMF|" + "[" * 60_000 + "|{}"]),
        ocpi(["OCMF|{}"]),
        ocpi(["x" * 100_000]),
    ],
)
def test_what_is_no_such_format_is_said_to_be_none(entries: list[Any]) -> None:
    found = check(entries, ())
    assert found is not None
    assert found.outcome is Outcome.UNSUPPORTED
    assert found.says


def test_a_record_without_signed_values_has_no_outcome() -> None:
    assert check([], (KEBA_KEY,)) is None


@pytest.mark.parametrize("value", ["1e999999999", "1e-999999999", "NaN", "-1e400", "9" * 5_000])
def test_a_number_that_no_meter_shows_takes_no_memory(value: str) -> None:
    meter = Meter()
    assert outcome([meter.charge(end_kwh=value)], (meter.key,)).signed_wh is None


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    for whole in (text, f"OCMF|{text}", f"OCMF|{text}|{text}", f"OCMF|{{}}|{text}"):
        try:
            read(whole)
        except Unreadable:
            continue


@given(st.integers(0, 400), st.integers(1, 127))
def test_no_changed_letter_is_verified(place: int, change: int) -> None:
    header, payload, signature = KEBA.split("|")
    place %= len(payload)
    other = chr((ord(payload[place]) + change) % 128)
    changed = payload[:place] + other + payload[place + 1 :]
    told = outcome([f"{header}|{changed}|{signature}"], (KEBA_KEY,))
    assert told.outcome is not Outcome.VERIFIED


def test_a_key_has_one_spelling_however_it_is_told() -> None:
    key = Meter().private.public_key()
    der = bytes.fromhex(spelt(key))
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    spellings = [der.hex(), der.hex().upper(), base64.b64encode(der).decode(), pem.decode()]
    assert keys_of(spellings) == (der.hex(),)


@pytest.mark.parametrize(
    "told",
    ["", "00", "no key", "ä", spelt(ec.generate_private_key(ec.SECP521R1()).public_key())],
)
def test_what_is_no_key_of_the_format_is_refused(told: str) -> None:
    with pytest.raises(BadMeterKey):
        public_key(told)


def test_an_rsa_key_and_too_many_keys_are_refused() -> None:
    pem = rsa.generate_private_key(65537, 2048).public_key()
    told = pem.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    with pytest.raises(BadMeterKey):
        public_key(told)
    with pytest.raises(BadMeterKey, match="keys for one EVSE"):
        keys_of([Meter().key for _ in range(MOST_KEYS + 1)])
