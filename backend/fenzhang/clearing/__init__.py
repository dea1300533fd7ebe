"""Clearing: from positions to payouts, and the bills that tell platforms and participants what happened on a day."""
