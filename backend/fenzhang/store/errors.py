"""What can be wrong with a database, as errors with stable codes."""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError


class DatabaseError(FenzhangError):
    """Something is wrong with the database itself, not with what was asked of it."""

    code = "database_error"


class DatabaseUnavailable(DatabaseError):
    """The database did not answer, is locked, is full or gave up a transaction.

    Trying again helps. Nothing was written, unless the connection broke in a commit: then nobody knows.
    """

    code = "database_unavailable"


class DatabaseNotMigrated(DatabaseError):
    """The database is empty or of an older version; `fenzhang db upgrade` brings it up to date."""

    code = "database_not_migrated"


class DatabaseNewer(DatabaseError):
    """The database was written by a newer version of fenzhang, which this one does not understand."""

    code = "database_newer"


class DatabaseOfOtherChain(DatabaseError):
    """The database mirrors another chain, or other contracts, than the deployment names."""

    code = "database_of_other_chain"


class LeaseLost(DatabaseError):
    """Somebody else holds the lease now; whoever sees this stops acting under it."""

    code = "lease_lost"
