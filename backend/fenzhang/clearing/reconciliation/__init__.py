"""Three-way reconciliation: what platforms asked for, ledger and chain, and the bank's statements."""
