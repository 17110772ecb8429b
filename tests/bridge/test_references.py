"""A reference leads to what stands in the uploaded files, and nowhere else."""

from __future__ import annotations

import pytest

from bridge.document import BadDocument
from bridge.references import References
from tests.bridge.interfaces import document


def follow(reference: str, **files: str) -> object:
    root = f"here: {{$ref: {reference!r}}}\nthere: {{a/b: [1, {{~: 2}}]}}\n"
    references = References(document({"sub/api.yaml": root, **files}))
    return references.follow(references.root["here"]).value


def refused(reference: str, **files: str) -> BadDocument:
    with pytest.raises(BadDocument) as error:
        follow(reference, **files)
    return error.value


def test_a_pointer_leads_through_objects_and_lists() -> None:
    assert follow("#/there/a~1b/1/~0") == 2
    assert follow("#/there/a%7E1b/0") == 1


def test_files_refer_to_each_other_by_relative_paths() -> None:
    files = {"types/one.json": '{"x": {"$ref": "../sub/api.yaml#/there"}}'}
    assert follow("../types/one.json#/x", **files) == {"a/b": [1, {"~": 2}]}


def test_a_whole_file_can_be_referred_to() -> None:
    assert follow("types.yaml", **{"sub/types.yaml": "7"}) == 7


@pytest.mark.parametrize(
    "reference",
    [
        "https://elsewhere.example/types.yaml#/x",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "//elsewhere.example/types.yaml",
        "/etc/passwd",
    ],
)
def test_a_reference_to_elsewhere_is_refused_by_its_name(reference: str) -> None:
    error = refused(reference)
    assert error.field == "sub/api.yaml#/here/$ref"
    assert error.value == reference
    assert "nothing is fetched" in str(error.rule)


@pytest.mark.parametrize(
    "reference",
    [
        "../../x.yaml",
        "x.yaml",
        "#/nothing",
        "#/there/a~1b/2",
        "#/there/a~1b/-1",
        "#/here/x",
        "#name",
    ],
)
def test_a_reference_to_nothing_is_refused(reference: str) -> None:
    assert refused(reference).field == "sub/api.yaml#/here/$ref"


def test_references_that_lead_around_are_refused() -> None:
    assert "around" in str(refused("#/here").rule)
    chain = "\n".join(f"a{n}: {{$ref: '#/a{n + 1}'}}" for n in range(100))
    references = References(document({"a.yaml": f"{chain}\na100: 1"}))
    with pytest.raises(BadDocument):
        references.follow(references.root["a0"])
