"""Verification of everything on the chain, from a node and a deployment file alone. Knows no database."""
