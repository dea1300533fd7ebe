"""Submission: pending instructions become signed, stored and broadcast transactions, and are followed until mined."""
