"""Which bank is served, and which processes that means."""

from __future__ import annotations

from pathlib import Path

import pytest

from fenzhang.commands.serve_all import stages
from fenzhang.commands.serve_payouts import Said, ServedBank, served_bank
from fenzhang.health.endpoint import child_port
from fenzhang.settings import Settings

NOTHING_SAID = Said(None, None, None, None, None)


def test_what_the_command_line_says_comes_before_the_settings() -> None:
    settings = Settings(bank_url="http://bank", bank_name="icbc", bank_customer="us", bank_format="csv")
    assert served_bank(NOTHING_SAID, settings) == ServedBank("icbc", "http://bank", None, "us", "csv")
    said = Said(None, None, Path("drops"), "them", "iso20022")
    assert served_bank(said, settings) == ServedBank("icbc", None, Path("drops"), "them", "iso20022")


@pytest.mark.parametrize("named", [{"BANK_URL": "http://bank"}, {"BANK_FOLDER": "drops"}])
def test_clearing_payouts_and_reconciliation_run_where_there_is_a_bank(
    named: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BANK_URL", "BANK_FOLDER"):
        monkeypatch.delenv(f"FENZHANG_{name}", raising=False)
    assert stages() == ("mirror", "submission", "api")
    for name, value in named.items():
        monkeypatch.setenv(f"FENZHANG_{name}", value)
    assert stages() == ("mirror", "submission", "clearing", "payouts", "reconciliation", "api")
    monkeypatch.setenv("FENZHANG_METRICS_PORT", "9000")
    assert [child_port(name) for name in stages()] == ["9002", "9001", "9003", "9004", "9005", "9000"]
