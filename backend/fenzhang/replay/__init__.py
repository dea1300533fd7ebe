"""Plays a folder of orders (`participants.json`, `rules.json`, `orders.jsonl`) against a running system over HTTP.

What else happens on the day stands in `day.json`, and what must come of it in `expected.json`; both may be missing.

Everything is written under the scenario's own references, so playing a folder again, after an interruption or for no
reason at all, changes nothing that is there and adds what is missing.
"""
