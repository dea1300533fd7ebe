"""The mirror: the chain's events as rows and postings, block by block, and back when the chain reorganises."""
