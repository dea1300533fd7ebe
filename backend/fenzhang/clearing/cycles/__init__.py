"""Cycles: what is due is netted, closed on the chain by the clearing bank's signature, paid and reported."""
