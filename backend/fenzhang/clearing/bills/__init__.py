"""Daily bills: every success and failure of a day, for a platform, a merchant or a participant."""
