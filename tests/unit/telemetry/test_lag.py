"""How far the mirror is behind, by a clock of the test."""

from __future__ import annotations

from fenzhang.telemetry.lag import Lag


class _Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_blocks_and_seconds_of_a_mirror_that_stands_still_and_catches_up() -> None:
    clock = _Clock()
    lag = Lag(clock)
    assert (lag.blocks, lag.seconds) == (None, 0.0)
    lag.saw(10, 10)
    assert (lag.blocks, lag.seconds) == (0, 0.0)
    lag.saw(11, 10)
    clock.now += 3
    lag.saw(15, 10)
    assert (lag.blocks, lag.seconds) == (5, 3.0)
    lag.saw(16, 15)  # block 11 is mirrored: what waits now was first seen at this look
    assert (lag.blocks, lag.seconds) == (1, 0.0)
    clock.now += 2
    assert lag.seconds == 2.0
    lag.saw(16, 16)
    assert (lag.blocks, lag.seconds) == (0, 0.0)


def test_an_idle_chain_is_no_lag_however_old_its_newest_block_is() -> None:
    clock = _Clock()
    lag = Lag(clock)
    lag.saw(10, 10)
    clock.now += 1_000
    lag.saw(10, 10)
    assert lag.seconds == 0.0


def test_without_the_node_blocks_are_unknown_and_a_known_wait_goes_on() -> None:
    clock = _Clock()
    lag = Lag(clock)
    lag.saw(12, 10)
    clock.now += 4
    lag.saw(None, 10)
    assert (lag.blocks, lag.seconds) == (None, 4.0)
    lag.saw(None, 12)
    assert lag.seconds == 0.0


def test_before_the_first_block_everything_is_behind() -> None:
    clock = _Clock()
    lag = Lag(clock)
    lag.saw(4, None)
    clock.now += 1
    assert (lag.blocks, lag.seconds) == (5, 1.0)


def test_a_chain_that_turned_to_a_lower_head_keeps_the_wait() -> None:
    clock = _Clock()
    lag = Lag(clock)
    lag.saw(20, 10)
    clock.now += 5
    lag.saw(15, 10)
    assert (lag.blocks, lag.seconds) == (5, 5.0)
    lag.saw(15, 15)
    assert lag.seconds == 0.0
