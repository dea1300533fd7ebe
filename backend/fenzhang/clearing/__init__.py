"""Clearing: what is payable becomes payouts, cycle by cycle."""
