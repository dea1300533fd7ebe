"""Money: an integer count of a currency's minor units, never a float. Currencies are ISO 4217 letter codes."""

from __future__ import annotations

from fenzhang.domain.errors import InvalidAmount, UnknownCurrency

MAX_AMOUNT = 2**63 - 1
"""Largest amount that anybody may state, minor units: what a signed 64-bit integer of SQL holds."""

_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
        CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
        IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
        MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP
        SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG
        YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS: dict[str, int] = {
    code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()
}
"""Letter codes in use to the number of decimal digits of their minor unit. Metals and test codes have none."""
CURRENCIES: tuple[str, ...] = tuple(sorted(EXPONENTS))
"""All letter codes in use."""


def check_amount(field: str, value: object) -> int:
    """Return `value` if it is an int of 1 to MAX_AMOUNT minor units, else raise InvalidAmount naming `field`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidAmount(field, "an amount is a whole number of minor units")
    if value <= 0:
        raise InvalidAmount(field, f"an amount is positive, not {value}")
    if value > MAX_AMOUNT:
        raise InvalidAmount(field, f"an amount is at most {MAX_AMOUNT}")
    return value


def check_currency(field: str, value: object) -> str:
    """Return `value` if it is a letter code in use, else raise UnknownCurrency naming `field`."""
    if not isinstance(value, str) or value not in EXPONENTS:
        raise UnknownCurrency(field, "not an ISO 4217 letter code in use")
    return value


def format_amount(amount: int, currency: str) -> str:
    """An amount as people write it: 123456 CNY is `1234.56`. Raises UnknownCurrency."""
    exponent = EXPONENTS[check_currency("currency", currency)]
    if exponent == 0:
        return str(amount)
    units, rest = divmod(abs(amount), 10**exponent)
    return f"{'-' if amount < 0 else ''}{units}.{rest:0{exponent}d}"
