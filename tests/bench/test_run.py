"""Every benchmark runs on little data, and its rows can be read by a program and by a person."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.row import Row
from bench.run import BENCHMARKS, main, shown


@pytest.mark.parametrize("name", [benchmark.NAME for benchmark in BENCHMARKS])
def test_each_benchmark_runs_in_quick_mode_and_its_rows_are_well_formed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "build" / "bench.json"
    assert main([name, "--quick", "--output", str(output)]) == 0
    rows = msgspec.json.decode(output.read_bytes(), type=list[Row])
    assert {row.name for row in rows} == {name}
    for row in rows:
        assert row.ours > 0
        assert row.unit
        assert row.params, "a row names the size of its data"
        assert row.limit
        assert row.limit_value is not None
        if row.limit_value:
            assert row.ratio_to_limit == pytest.approx(row.ours / row.limit_value, rel=0.1, abs=0.1)
        if row.peer is not None:
            assert (row.peer_value is None) == ("not_started" in row.params)
    assert name in capsys.readouterr().out


def test_a_benchmark_of_no_known_name_is_refused_by_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["authorize"])
    assert ended.value.code == 2
    assert "authorize" in capsys.readouterr().err


def test_a_peer_that_did_not_start_leaves_its_place_empty() -> None:
    row = Row(
        name="gateway-call",
        ours=150.0,
        unit="us CPU a call",
        peer="HAProxy maps",
        limit="a bare forward",
        limit_value=120.0,
        ratio_to_limit=1.25,
        params={"not_started": "haproxy is not installed"},
    )
    console = Console(record=True, width=200)
    console.print(shown([row]))
    told = console.export_text()
    assert "haproxy is not installed" in told
    assert "1.25" in told
