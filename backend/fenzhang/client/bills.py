"""Daily bills, as flows."""

from __future__ import annotations

from fenzhang.client.flow import Flow
from fenzhang.client.session import Call, Session


class BillOperations:
    """The part of the API that is about bills, as flows over one session."""

    _session: Session

    def get_bill(
        self,
        day: str,
        *,
        platform: str | None = None,
        participant: str | None = None,
        merchant: str | None = None,
        format: str = "jsonl",  # noqa: A002 -- the API's word
        gzip: bool = False,
    ) -> Flow[bytes]:
        """The bill of a day (YYYY-MM-DD): the platform's, or that of a participant or merchant of it.

        `format` is jsonl or csv; `platform` is for operators and auditors. Raises Conflict until the day is final.
        """
        given = {"platform": platform, "participant": participant, "merchant": merchant}
        query = {name: value for name, value in given.items() if value is not None}
        query |= {"format": format, **({"gzip": "true"} if gzip else {})}
        call = Call(method="GET", path=f"/v1/bills/{day}", read=bytes, query=query, is_json=False)
        return (yield from self._session.perform(call))
