"""What a file's benchmarks are called."""

from __future__ import annotations

from activeuf_core.catalog_benchmarks import Benchmarks


def test_a_score_of_the_first_rows_does_not_bear_the_benchmark_s_name_alone() -> None:
    titles = Benchmarks({"all": {"limit": 9}, "ifeval": {"title": "Ours"}}).titles()
    assert (titles["gsm8k"], titles["ifeval"]) == ("GSM8K (first 9)", "Ours (first 9)")


def test_all_rows_bear_the_title_as_it_is() -> None:
    sections = {"all": {"limit": 9}, "gsm8k": {"limit": None}, "minerva_math": None}
    titles = Benchmarks(sections).titles()
    assert titles["gsm8k"] == "GSM8K"
    assert "minerva_math" not in titles
