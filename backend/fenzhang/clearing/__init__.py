"""The stage that pays out. So far its edge to the bank: files, statements, and payouts that are sent at most once."""
