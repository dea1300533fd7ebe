"""The page about cycles: its example runs as it stands, and it names what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fenzhang.devnet.processes import free_port
from fenzhang.domain.netting import LeftOut
from fenzhang.local.spawned import spawned_system
from fenzhang.local.supervisor import UpOptions
from fenzhang.sandboxbank import signing
from fenzhang.testing.system import LocalSystem
from support.pages import check_page

PAGE = (Path(__file__).parents[2] / "docs" / "cycles.md").read_text(encoding="utf-8")


@pytest.mark.node
@pytest.mark.slow
def test_the_example_of_the_page_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A system of its own: its first cycles are those of the page.
    monkeypatch.setenv("PORT", str(free_port("127.0.0.1")))
    options = UpOptions(home=tmp_path / "system", port=0, node_port=0, block_time_s=0.5)
    example = tmp_path / "example"
    example.mkdir()
    with spawned_system(options) as endpoints:
        check_page("cycles.md", LocalSystem(endpoints), example)


def test_the_page_names_every_reason() -> None:
    refusals = [
        signing.OTHER_CHAIN,
        signing.OTHER_ROOT,
        signing.OTHER_TOTAL,
        signing.OTHER_ORDER,
        signing.NOT_SIGNED,
        signing.OTHER_AMOUNT,
        *signing.NOT_SO.values(),
    ]
    assert [name for name in (*LeftOut, *refusals) if f"`{name}`" not in PAGE] == []
