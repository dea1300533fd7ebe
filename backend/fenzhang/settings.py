"""Settings of the processes, from the environment: FENZHANG_ and the name in capitals."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fenzhang.domain.days import check_time_zone
from fenzhang.domain.errors import FenzhangError
from fenzhang.telemetry.logs import LogFormat, LogLevel

_SECRET_BYTES = 32


class SettingsInvalid(FenzhangError):
    """The environment holds something that no setting can be."""

    code = "settings_invalid"


class SecretUnreadable(FenzhangError):
    """A file with a secret cannot be read or made."""

    code = "secret_unreadable"


class Settings(BaseSettings):
    """What API and stages need to know. Secrets that are not given are made once and kept under `home`, mode 0600."""

    model_config = SettingsConfigDict(env_prefix="FENZHANG_", extra="ignore", frozen=True)

    home: Path = Path(".fenzhang")
    """Folder of everything local: database, secrets, the devnet."""
    database_url: str = ""
    """`sqlite:///file` or `postgresql://user:password@host/name`; by default `fenzhang.db` under `home`."""
    rpc_url: str = "http://127.0.0.1:8545"
    """JSON-RPC address of the node."""
    deployment: Path = Path("deployments/20261.json")
    """Deployment file of the chain."""
    calendars: Path | None = None
    """TOML file of settlement calendars; without it those that the program has."""
    clearing_depth: int = Field(default=255, ge=0, le=255)
    """Blocks that must stand above one before a cycle is netted as of it, or a payout taken in it paid. By default as
    deep as the mirror follows a reorganisation; 0 suits a chain whose blocks are final."""
    signatory_url: str = ""
    """Clearing bank that signs cycles and reports over HTTP; without it the keystore's key `clearing_bank` does."""
    bank_url: str = ""
    """Bank over HTTP that pays out, or:"""
    bank_folder: Path | None = None
    """Bank by folders that pays out."""
    bank_name: str = Field(default="sandbox", min_length=1, max_length=64)
    """As stored beside the files that go there."""
    bank_customer: str = "fenzhang"
    """Who this system is to a bank over HTTP."""
    bank_format: Literal["iso20022", "csv"] = "iso20022"
    """Of files for the bank."""
    jwt_secret: SecretStr | None = None
    """Key that signs access tokens; the same for all API processes."""
    keystore_password: SecretStr | None = None
    """Opens the keys in the keystore; the same for API and submission."""
    bank_keys: SecretStr | None = None
    """Encrypt bank accounts and bank files in the database: 64 hexadecimal digits each, the newest first."""
    keystore_work_factor: int = 1 << 18
    """scrypt's n for keys that are made here, a power of two. Less than the standard suits keys of a devnet only."""
    api_host: str = "127.0.0.1"
    api_port: int = 8700
    token_ttl_s: int = 3_600
    """How long an access token is good for."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    """Where a process serves /metrics, /healthz and /readyz for operators, apart from the API; off when not set."""
    log: LogFormat = "text"
    """`text` for people, `json` for machines."""
    log_level: LogLevel = "INFO"
    max_queue: int = Field(default=50_000, ge=1)
    """Instructions without an outcome at which intake answers 429."""
    max_requests: int = Field(default=256, ge=1)
    """Writes under way in one API process at which it answers 429; of requests of all kinds, eight times as many."""
    max_calldata_bytes: int = Field(default=120_000, ge=10_000, le=1_000_000)
    """Largest calldata of a transaction. Nodes of the geth family refuse transactions above 128 KiB, and what a node
    refuses can never be replaced. 200 orders with their splits take 163,000, for nodes without such a limit."""
    ready_lag_s: float = Field(default=30.0, gt=0)
    """A mirror that is longer behind is shown as degraded."""
    bill_time_zone: str = "Asia/Shanghai"
    """Whose dates are the days of bills."""
    bill_time_zones: dict[str, str] = Field(default_factory=dict)
    """JSON object: the same for single platforms, by reference. Another zone makes other bills, of the past as well."""
    bill_depth: int = Field(default=255, ge=0, le=255)
    """Blocks that must stand above the first one of the next day before a day has bills. The default is as deep as the
    mirror follows a reorganisation; 0 suits a chain whose blocks are final."""

    @field_validator("bill_time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return check_time_zone("bill_time_zone", value)

    @field_validator("bill_time_zones")
    @classmethod
    def _known_zones(cls, value: dict[str, str]) -> dict[str, str]:
        for zone in value.values():
            check_time_zone("bill_time_zones", zone)
        return value

    @field_validator("metrics_port", "calendars", "bank_folder", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("home", "deployment", mode="before")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        if not str(value):
            raise ValueError("must not be empty")
        return value

    @classmethod
    def from_environment(cls) -> Self:
        """What the environment says. Raises SettingsInvalid."""
        try:
            return cls()
        except ValidationError as error:
            wrong = [f"FENZHANG_{each['loc'][0]}".upper() + f": {each['msg']}" for each in error.errors()]
            raise SettingsInvalid("; ".join(wrong)) from None

    def zone_of(self, platform: str) -> ZoneInfo:
        """Whose dates are the days of a platform's bills."""
        return ZoneInfo(self.bill_time_zones.get(platform, self.bill_time_zone))

    @property
    def has_bank(self) -> bool:
        """Whether a bank is there to pay out, so that cycles are closed and payouts sent."""
        return bool(self.bank_url) or self.bank_folder is not None

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'fenzhang.db'}"

    def jwt_key(self) -> str:
        """The key that signs access tokens. Raises SecretUnreadable."""
        return self._secret(self.jwt_secret, "jwt_secret")

    def keystore_secret(self) -> str:
        """The password of the keystore. Raises SecretUnreadable."""
        return self._secret(self.keystore_password, "keystore_password")

    def bank_secret(self) -> str:
        """The keys for bank accounts and bank files. Raises SecretUnreadable."""
        return self._secret(self.bank_keys, "bank_keys")

    def prepared(self) -> Self:
        """These settings, with the folder they name made. Raises SecretUnreadable."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SecretUnreadable(f"{self.home} cannot be made: {error.strerror}") from None
        return self

    def _secret(self, given: SecretStr | None, name: str) -> str:
        if given is not None:
            return given.get_secret_value()
        path = self.prepared().home / name
        try:
            _make(path)
            found = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise SecretUnreadable(f"{path} cannot be read or made", path=str(path)) from None
        if not found:
            raise SecretUnreadable(f"{path} is empty", path=str(path))
        return found


def _make(path: Path) -> None:
    """Write a new secret to `path` unless it exists. Of several processes that try, one wins and all read it."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # fails if another process was faster, and never shows half a secret
    except FileExistsError:
        pass
    finally:
        draft.unlink()
