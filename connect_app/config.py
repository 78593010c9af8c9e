"""Settings: read from the environment, complete or refused with every problem at once, secrets hidden."""

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from connect_app.crypto import Key, KeyRing
from connect_app.modes import Mode

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class SettingsRefused(Exception):
    """The environment cannot be run with; the text names every variable to mend."""


class Settings(BaseModel):
    """What the operator decides. Field names are the environment's names in small letters."""

    model_config = ConfigDict(frozen=True)

    database_url: str
    redis_url: str
    port: int = 8000
    holdfast_port: int | None = None
    holdfast_base_url: str = ""
    holdfast_secret_keys: SecretStr
    stripe_test_secret_key: SecretStr = SecretStr("")
    stripe_test_client_id: str = ""
    stripe_test_webhook_secrets: SecretStr = SecretStr("")
    stripe_live_secret_key: SecretStr = SecretStr("")
    stripe_live_client_id: str = ""
    stripe_live_webhook_secrets: SecretStr = SecretStr("")
    stripe_api_base: str = ""
    stripe_connect_base: str = ""
    smtp_url: SecretStr = SecretStr("")
    mail_from: str = "Holdfast <holdfast@localhost>"
    holdfast_proxies: int = Field(default=0, ge=0, le=9)
    holdfast_metrics_token: SecretStr = SecretStr("")
    # With a sweep on top, a killed worker's work is in other hands within a minute.
    holdfast_lease_seconds: float = Field(default=50.0, gt=0)
    holdfast_sweep_seconds: float = Field(default=5.0, gt=0)
    # Stripe's list of events goes back 30 days: an event dropped before then would be taken for one that never came.
    holdfast_event_days: int = Field(default=35, ge=31, le=3650)
    # Networks inside which webhooks and pass-through URLs may lead all the same, on any port and without TLS.
    holdfast_egress_allow: str = ""
    holdfast_stripe_connect_timeout: float = Field(default=5.0, gt=0)
    holdfast_stripe_read_timeout: float = Field(default=20.0, gt=0)

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, url: str) -> str:
        scheme, _, rest = url.partition("://")
        if scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
            raise ValueError("must be a postgresql:// URL: Holdfast runs on PostgreSQL only")
        return f"postgresql+psycopg://{rest}"

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: str) -> str:
        if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("must be a redis://, rediss:// or unix:// URL")
        return url

    @field_validator("holdfast_base_url", "stripe_api_base", "stripe_connect_base")
    @classmethod
    def _no_slash(cls, url: str) -> str:
        if url and urlsplit(url).scheme not in {"http", "https"}:
            raise ValueError("must be an http:// or https:// URL")
        return url.rstrip("/")

    @field_validator("holdfast_secret_keys")
    @classmethod
    def _keys(cls, keys: SecretStr) -> SecretStr:
        _ring(keys.get_secret_value())
        return keys

    @field_validator("holdfast_egress_allow")
    @classmethod
    def _networks(cls, text: str) -> str:
        _allowed(text)
        return text

    @model_validator(mode="after")
    def _whole(self) -> "Settings":
        for mode in Mode:
            if bool(self.secret_key(mode)) != bool(self.client_id(mode)):
                raise ValueError(f"STRIPE_{mode.upper()}_SECRET_KEY and STRIPE_{mode.upper()}_CLIENT_ID go together")
            if (key := self.secret_key(mode)) and not re.match(rf"(sk|rk)_{mode}_", key):
                raise ValueError(f"STRIPE_{mode.upper()}_SECRET_KEY is not a {mode} key")
        # A live key sent to somebody's test server would be a live key given away.
        for name in ("stripe_api_base", "stripe_connect_base"):
            host = urlsplit(getattr(self, name)).hostname
            if self.secret_key(Mode.LIVE) and host and host not in _LOOPBACK and not host.endswith(".stripe.com"):
                raise ValueError(f"{name.upper()} is neither Stripe's nor on loopback: refused together with a live key")
        return self

    @property
    def listen_port(self) -> int:
        """Process runners rewrite PORT for their children, so HOLDFAST_PORT wins."""
        return self.holdfast_port or self.port

    @property
    def base_url(self) -> str:
        """Where browsers reach us, without a slash at its end."""
        return self.holdfast_base_url or f"http://127.0.0.1:{self.listen_port}"

    @property
    def ring(self) -> KeyRing:
        return _ring(self.holdfast_secret_keys.get_secret_value())

    @property
    def longest_call(self) -> float:
        """Seconds for which a job waits for Stripe at most, in one request."""
        return self.holdfast_stripe_connect_timeout + self.holdfast_stripe_read_timeout

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes this server has platform keys for."""
        return tuple(mode for mode in Mode if self.secret_key(mode))

    @property
    def egress_allow(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of HOLDFAST_EGRESS_ALLOW."""
        return _allowed(self.holdfast_egress_allow)

    def secret_key(self, mode: Mode) -> str:
        key: SecretStr = getattr(self, f"stripe_{mode}_secret_key")
        return key.get_secret_value()

    def client_id(self, mode: Mode) -> str:
        client_id: str = getattr(self, f"stripe_{mode}_client_id")
        return client_id

    def webhook_secrets(self, mode: Mode) -> tuple[str, ...]:
        """The signing secrets of this mode's endpoints; several while one is being rolled."""
        secrets: SecretStr = getattr(self, f"stripe_{mode}_webhook_secrets")
        return tuple(secret for secret in re.split(r"[\s,]+", secrets.get_secret_value()) if secret)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises SettingsRefused with one line a problem."""
    environ = os.environ if environ is None else environ
    fields = set(Settings.model_fields)
    problems = [f"{name}: no such setting" for name in sorted(environ) if name.startswith("HOLDFAST_") and name.lower() not in fields]
    values = {name.lower(): value for name, value in environ.items() if name.lower() in fields and value != ""}
    settings = None
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in problem["loc"]).upper()
            text = "is not set" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
            problems.append(f"{name}: {text}" if name else text)
    if problems or settings is None:
        raise SettingsRefused("\n".join(problems))
    return settings


def _ring(text: str) -> KeyRing:
    keys = []
    for pair in filter(None, re.split(r"[\s,]+", text)):
        kid, _, secret = pair.partition(":")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", kid) or len(secret) < 32:
            raise ValueError("must be kid:key,… newest first, each key at least 32 characters of chance (openssl rand -hex 32)")
        keys.append(Key(kid=kid, secret=secret.encode()))
    if not keys:
        raise ValueError("must hold at least one kid:key")
    return KeyRing(tuple(keys))


def _allowed(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    try:
        return tuple(ipaddress.ip_network(one) for one in re.split(r"[\s,]+", text) if one)
    except ValueError:
        raise ValueError("must be IP addresses or networks, such as 10.20.0.0/16, with commas between") from None
