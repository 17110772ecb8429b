"""Logs can be read by machines line by line, and by anybody without learning a secret."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey


def logged(log_format: str, code: str) -> str:
    """What a process of its own writes to standard error."""
    begin = f"""
        import logging, warnings, structlog
        from gridroam import logging as hub_logging
        hub_logging.configure({log_format!r})
        log = structlog.get_logger("ours")
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(begin) + dedent(code)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def lines_of(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


def test_whatever_is_logged_is_one_json_object_a_line() -> None:
    ours, theirs, warned, failed = lines_of(
        logged(
            "json",
            r"""
            log.info("two\nlines", party="FR*PD1")
            logging.getLogger("theirs").warning("a library says %s", "so")
            warnings.warn("old")
            try:
                raise ValueError("went wrong")
            except ValueError:
                log.exception("failed")
            """,
        )
    )
    assert (ours["event"], ours["party"], ours["level"]) == ("two\nlines", "FR*PD1", "info")
    assert (theirs["event"], theirs["level"]) == ("a library says so", "warning")
    assert "UserWarning: old" in warned["event"]
    assert "ValueError: went wrong" in failed["exception"]
    assert all("timestamp" in line for line in (ours, theirs, warned, failed))


SECRETS = """
    log.info("registered", client_secret="hunter2", partner={"keys": [{"private_key": "hunter2"}]})
    log.info("no answer at postgresql://hub:hunter2@db/gridroam", headers=["Bearer hunter2hunter2"])
    try:
        raise OSError("cannot reach https://hub:hunter2@example.org/")
    except OSError:
        log.exception("failed")
"""


def test_no_secret_is_in_it_however_deep() -> None:
    for log_format in ("json", "text"):
        said = logged(log_format, SECRETS)
        assert "hunter2" not in said
        assert said.count("[redacted]") == 5


def test_no_token_assertion_or_key_is_in_it_wherever_it_stands() -> None:
    key = ECKey.generate_key("P-256")
    pem = key.as_pem(private=True).decode()
    token = jwt.encode({"alg": "ES256"}, {"sub": "FR*PD1"}, key)
    payload = pem.splitlines()[1]
    said = logged(
        "json",
        f"""
        log.info("asked with " + {token!r}, form={{"client_assertion": {token!r}}})
        log.warning("not read: " + {pem!r}, given=repr({pem!r}), cut={pem[:90]!r})
        log.error("refused", call=["Authorization: Bearer {token}", {token[:-4]!r}])
        """,
    )
    assert token.split(".")[1] not in said
    assert token.split(".")[2] not in said
    assert payload not in said
    assert payload[:20] not in said
    assert said.count("[redacted]") == 7
