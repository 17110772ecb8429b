"""Checking what a vehicle presents, with authorities and contract certificates made here."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from clearinghouse.certificates import model
from clearinghouse.certificates.model import (
    Authorities,
    BadCertificates,
    HashAlgorithm,
    HashData,
    Outcome,
    check,
    present,
    to_pem,
)
from roaming.contract_id import ContractId
from tests.clearinghouse.certificates import pki
from tests.clearinghouse.certificates.pki import BEGIN, YEAR

EMAID = ContractId("FRXYZ000000001")
ROOT = pki.root()
SUB = ROOT.authority("XYZ contracts")
LEAF = SUB.contract(EMAID)
CHAIN = to_pem([LEAF, SUB.certificate])
KNOWN = Authorities((ROOT.certificate,))
NOON = BEGIN + YEAR
SERIAL = model.serial_of(LEAF)


def outcome_of(
    *hash_data: HashData,
    chain: str | None = None,
    authorities: Authorities = KNOWN,
    at: timedelta = timedelta(0),
) -> Outcome:
    return check(present(hash_data, chain), EMAID, authorities, NOON + at).outcome


def test_a_chain_that_leads_to_an_authority_of_the_evsp_is_verified() -> None:
    assert outcome_of(chain=CHAIN) is Outcome.VERIFIED
    for authorities in ((SUB.certificate,), (ROOT.certificate, SUB.certificate)):
        known = Authorities(authorities)
        assert outcome_of(chain=to_pem([LEAF]), authorities=known) is Outcome.VERIFIED


@pytest.mark.parametrize("algorithm", HashAlgorithm)
def test_the_hash_data_of_each_certificate_belongs_to_the_chain(algorithm: HashAlgorithm) -> None:
    each = [SUB.hash_data(LEAF, algorithm), ROOT.hash_data(SUB.certificate, algorithm)]
    assert outcome_of(*each, chain=CHAIN) is Outcome.VERIFIED
    shouted = replace(
        each[0],
        issuer_name_hash=each[0].issuer_name_hash.upper(),
        issuer_key_hash=each[0].issuer_key_hash.upper(),
        serial_number="00" + SERIAL.upper() if len(SERIAL) <= 38 else SERIAL.upper(),
    )
    assert outcome_of(shouted, chain=CHAIN) is Outcome.VERIFIED


def test_a_chain_that_does_not_verify_is_not_trusted() -> None:
    stranger = pki.root("another root")
    forged = stranger.contract(EMAID)
    lookalike = pki.root().authority("XYZ contracts")
    for chain in (
        to_pem([forged]),
        to_pem([forged, stranger.certificate]),
        to_pem([LEAF]),
        to_pem([lookalike.contract(EMAID), SUB.certificate]),
        to_pem([lookalike.contract(EMAID), lookalike.certificate, SUB.certificate]),
    ):
        assert outcome_of(chain=chain) is Outcome.UNTRUSTED


def test_a_contract_certificate_signs_no_other() -> None:
    leaf_key_as_authority = replace(SUB, certificate=LEAF)
    below = leaf_key_as_authority.contract(EMAID)
    assert outcome_of(chain=to_pem([below, LEAF, SUB.certificate])) is Outcome.UNTRUSTED


def test_the_certificate_of_another_contract_is_not_trusted() -> None:
    other = SUB.contract("FRXYZ000000002")
    assert outcome_of(chain=to_pem([other, SUB.certificate])) is Outcome.UNTRUSTED
    nameless = SUB.contract("nobody")
    assert outcome_of(chain=to_pem([nameless, SUB.certificate])) is Outcome.UNTRUSTED
    # Not even where nobody has told what to check the chain against.
    nothing = Authorities()
    assert outcome_of(chain=to_pem([other]), authorities=nothing) is Outcome.UNTRUSTED


def test_an_emaid_is_the_same_however_the_certificate_spells_it() -> None:
    spelt = SUB.contract(EMAID.display)
    assert outcome_of(chain=to_pem([spelt, SUB.certificate])) is Outcome.VERIFIED


def test_hash_data_of_another_certificate_is_not_trusted() -> None:
    right = SUB.hash_data(LEAF)
    for wrong in (
        SUB.hash_data(SUB.contract(EMAID)),
        ROOT.hash_data(LEAF),
        replace(right, issuer_key_hash=ROOT.hash_data(LEAF).issuer_key_hash),
        replace(right, issuer_name_hash="00" * 32),
        replace(right, hash_algorithm=HashAlgorithm.SHA384),
    ):
        assert outcome_of(wrong, chain=CHAIN) is Outcome.UNTRUSTED
        assert outcome_of(right, wrong, chain=CHAIN) is Outcome.UNTRUSTED


def test_hash_data_alone_must_name_an_authority_of_the_evsp() -> None:
    by_sub = Authorities((SUB.certificate,))
    assert outcome_of(SUB.hash_data(LEAF), authorities=by_sub) is Outcome.VERIFIED
    whole = (SUB.hash_data(LEAF), ROOT.hash_data(SUB.certificate))
    assert outcome_of(*whole) is Outcome.VERIFIED
    assert outcome_of(pki.root().hash_data(LEAF)) is Outcome.UNTRUSTED


def test_where_the_evsp_has_registered_no_authority_nothing_is_checked() -> None:
    nothing = Authorities()
    assert outcome_of(SUB.hash_data(LEAF), authorities=nothing) is Outcome.NOT_CHECKED
    assert outcome_of(chain=CHAIN, authorities=nothing) is Outcome.NOT_CHECKED


@pytest.mark.parametrize(
    "serial_number",
    [SERIAL, model.serial_of(SUB.certificate)],
    ids=["the vehicle", "the authority"],
)
def test_what_the_evsp_has_revoked_is_revoked_from_then_on(serial_number: str) -> None:
    revoked = replace(KNOWN, revoked={serial_number: NOON})
    hash_data = (SUB.hash_data(LEAF), ROOT.hash_data(SUB.certificate))
    for given, chain in (((), CHAIN), (hash_data, None)):
        assert outcome_of(*given, chain=chain, authorities=revoked) is Outcome.REVOKED
        earlier = -timedelta(seconds=1)
        before = outcome_of(*given, chain=chain, authorities=revoked, at=earlier)
        assert before is Outcome.VERIFIED


def test_a_certificate_counts_at_the_time_of_the_fact() -> None:
    assert outcome_of(chain=CHAIN, at=-YEAR) is Outcome.VERIFIED
    assert outcome_of(chain=CHAIN, at=-YEAR - timedelta(seconds=1)) is Outcome.EXPIRED
    assert outcome_of(chain=CHAIN, at=YEAR) is Outcome.VERIFIED
    assert outcome_of(chain=CHAIN, at=YEAR + timedelta(seconds=1)) is Outcome.EXPIRED
    forged = to_pem([pki.root().contract(EMAID)])
    assert outcome_of(chain=forged, at=2 * YEAR) is Outcome.UNTRUSTED


def test_the_digest_is_that_of_the_certificates_and_not_of_their_spelling() -> None:
    first = present([SUB.hash_data(LEAF)], CHAIN)
    assert present([SUB.hash_data(LEAF)], "a comment\n" + CHAIN).digest() == first.digest()
    others = (present([SUB.hash_data(LEAF)], None), present([], CHAIN), present([], to_pem([LEAF])))
    assert len({first.digest(), *(one.digest() for one in others)}) == 4


GOOD = SUB.hash_data(LEAF)


@pytest.mark.parametrize(
    ("hash_data", "chain", "field"),
    [
        (
            [replace(GOOD, issuer_name_hash="xyz")],
            None,
            "certificate_hash_data[0].issuer_name_hash",
        ),
        (
            [GOOD, replace(GOOD, issuer_key_hash="")],
            None,
            "certificate_hash_data[1].issuer_key_hash",
        ),
        ([replace(GOOD, serial_number="0x12")], None, "certificate_hash_data[0].serial_number"),
        ([replace(GOOD, responder_url="x" * 513)], None, "certificate_hash_data[0].responder_url"),
        ([GOOD] * 5, None, "certificate_hash_data"),
        ([], "", "contract_certificate_chain"),
        ([], "no certificate", "contract_certificate_chain"),
        ([], CHAIN.replace("MII", "MIX"), "contract_certificate_chain"),
        ([], CHAIN * 3, "contract_certificate_chain"),
        ([], "x" * 70_000, "contract_certificate_chain"),
        ([], "\udcff", "contract_certificate_chain"),
    ],
)
def test_what_is_no_certificate_is_refused_by_name(
    hash_data: list[HashData], chain: str | None, field: str
) -> None:
    with pytest.raises(BadCertificates) as caught:
        present(hash_data, chain)
    assert caught.value.field == field
    assert caught.value.rule


def test_only_authorities_are_taken_as_authorities() -> None:
    assert model.authorities_of(ROOT.pem + SUB.pem) == (ROOT.certificate, SUB.certificate)
    assert model.authorities_of(" \n") == ()
    for pem in (to_pem([LEAF]), ROOT.pem + to_pem([LEAF]), "nonsense", ROOT.pem * 21):
        with pytest.raises(BadCertificates) as caught:
            model.authorities_of(pem)
        assert caught.value.field == "certificates"
