"""The fault campaign: a running system whose parts are broken on purpose, and the oracle that says what survived.

`system` runs the real parts, `nodeproxy` and `dbproxy` stand between them, `traffic` writes through the API and knows
what must come of it, `oracle` compares, and the `*_faults` modules hold the scenarios that `campaign` plays.
"""
