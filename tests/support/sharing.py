"""Which worker gets which tests, when several run the suite.

Tests that share something expensive go to one worker, which makes it once. pytest-xdist has marks for that, which it
does not find with pytest 9.2: it writes them into ids that pytest makes in another way since.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # xdist ships no types

SHARED = {
    # The running system: started once, and ended when the last of them is over.
    "tests/api/test_on_chain.py": "system",
    "tests/client/test_against_the_system.py": "system",
    "tests/client/test_caps_and_consent.py": "system",
    "tests/client/test_given_amounts.py": "system",
    "tests/client/test_ledger_page.py": "system",
    "tests/client/test_levels_page.py": "system",
    "tests/client/test_refunds.py": "system",
    "tests/client/test_rule_governance.py": "system",
    "tests/client/test_rule_schedules.py": "system",
    "tests/client/test_stopping_pages.py": "system",
    "tests/client/test_suspense.py": "system",
    "tests/demo/test_days.py": "system",
    "tests/demo/test_replay.py": "system",
    # A history that is settled once.
    "tests/pipeline/test_reconcile.py": "market",
    "tests/pipeline/test_journal_links.py": "journal",
    # Thousands of generated cases.
    "tests/contracts/test_allocation.py": "cases",
    "tests/contracts/test_rule_tree.py": "cases",
    # One fault at a time on each database, or they would be faults of each other.
    "tests/faults/test_faults.py": "faults",
}
"""What tests of a file share."""


def share_of(test: str) -> str:
    """What a test, known by its id, shares with others; its id when it is nothing."""
    file, _, name = test.partition("::")
    shared = SHARED.get(file)
    if shared is None:
        return test
    return f"{shared} postgresql" if shared == "faults" and "[postgres" in name else shared


def end_what_is_over(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the running system with its last test on this worker: left idle until the end, it takes a tenth of a core."""
    if nextitem is None or share_of(item.nodeid) != "system" or share_of(nextitem.nodeid) == "system":
        return
    # pytest ends what is the session's with the session, but for what has come to its end before.
    for fixture in item.session._fixturemanager.getfixturedefs("fenzhang_system", item) or ():
        fixture.finish(item._request)  # type: ignore[attr-defined]  # pytest knows no public way


class SharingScheduler(LoadScopeScheduling):  # type: ignore[misc]  # the same
    """Gives tests out as they are asked for, those that share something together."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)
