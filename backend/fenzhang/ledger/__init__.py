"""The clearing ledger: accounts, postings and balances that follow the records of the chain."""
