"""Settings are complete or refused, with every problem at once and no secret told."""

import json
import subprocess
import sys

import pytest

from connect_app import config
from connect_app.modes import Mode

GOOD = {
    "DATABASE_URL": "postgres://holdfast_app@db/holdfast",
    "REDIS_URL": "redis://localhost:6379/0",
    "HOLDFAST_SECRET_KEYS": f"new:{'n' * 64},old:{'o' * 64}",
    "STRIPE_TEST_SECRET_KEY": "sk_test_canary1",
    "STRIPE_TEST_CLIENT_ID": "ca_test",
    "STRIPE_TEST_WEBHOOK_SECRETS": "whsec_a, whsec_b",
}


def test_a_complete_environment_is_read() -> None:
    settings = config.load(GOOD)
    assert settings.database_url == "postgresql+psycopg://holdfast_app@db/holdfast"
    assert settings.modes == (Mode.TEST,)
    assert settings.webhook_secrets(Mode.TEST) == ("whsec_a", "whsec_b")
    assert settings.ring.newest.kid == "new"
    assert settings.base_url == "http://127.0.0.1:8000"


def test_all_problems_are_told_at_once() -> None:
    broken = {**GOOD, "REDIS_URL": "", "DATABASE_URL": "sqlite:///x", "HOLDFAST_SECRET_KEYS": "short:x", "HOLDFAST_LEESE_SECONDS": "3"}
    with pytest.raises(config.SettingsRefused) as refused:
        config.load(broken)
    text = str(refused.value)
    for name in (
        "REDIS_URL: is not set",
        "DATABASE_URL: must be a postgresql",
        "HOLDFAST_SECRET_KEYS: ",
        "HOLDFAST_LEESE_SECONDS: no such",
    ):
        assert name in text


def test_a_refusal_and_a_repr_tell_no_secret() -> None:
    with pytest.raises(config.SettingsRefused) as refused:
        config.load({**GOOD, "STRIPE_LIVE_SECRET_KEY": "sk_live_canary2", "HOLDFAST_SECRET_KEYS": "k:canary3"})
    for canary in ("canary1", "canary2", "canary3"):
        assert canary not in str(refused.value)
    assert "canary" not in repr(config.load(GOOD))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"STRIPE_TEST_SECRET_KEY": "sk_live_x"}, "is not a test key"),
        ({"STRIPE_TEST_CLIENT_ID": ""}, "go together"),
        ({"STRIPE_LIVE_SECRET_KEY": "sk_live_x", "STRIPE_LIVE_CLIENT_ID": "ca_l", "STRIPE_API_BASE": "https://evil.example"}, "live key"),
        (
            {
                "STRIPE_LIVE_SECRET_KEY": "sk_live_x",
                "STRIPE_LIVE_CLIENT_ID": "ca_l",
                "STRIPE_CONNECT_BASE": "https://x.stripe.com.evil.example",
            },
            "live key",
        ),
        ({"HOLDFAST_BASE_URL": "ftp://x"}, "http://"),
    ],
)
def test_what_would_be_dangerous_is_refused(change: dict[str, str], complaint: str) -> None:
    with pytest.raises(config.SettingsRefused, match=complaint):
        config.load({**GOOD, **change})


@pytest.mark.parametrize("base", ["", "https://api.stripe.com", "http://127.0.0.1:8001", "http://localhost:8001"])
def test_a_live_key_may_go_to_stripe_and_to_loopback(base: str) -> None:
    live = {"STRIPE_LIVE_SECRET_KEY": "sk_live_x", "STRIPE_LIVE_CLIENT_ID": "ca_l", "STRIPE_API_BASE": base}
    assert config.load({**GOOD, **live}).modes == (Mode.TEST, Mode.LIVE)


def test_holdfast_port_wins_over_the_port_a_process_runner_sets() -> None:
    assert config.load({**GOOD, "PORT": "5100", "HOLDFAST_PORT": "8000"}).listen_port == 8000


def test_settings_made_from_a_mapping_know_nothing_of_the_process_around_them() -> None:
    program = "import json, sys; from connect_app import config\nprint(config.load(json.loads(sys.argv[1])).mail_from)"
    environ = {"MAIL_FROM": "leaked@example.com", "REDIS_URL": "", "HOLDFAST_LEASE_SECONDS": "nonsense"}
    told = subprocess.run([sys.executable, "-c", program, json.dumps(GOOD)], env=environ, check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "Holdfast <holdfast@localhost>"


def test_what_a_killed_worker_had_in_hand_is_in_other_hands_within_a_minute_and_no_call_outlives_its_lease() -> None:
    settings = config.load(GOOD)
    assert settings.holdfast_lease_seconds + settings.holdfast_sweep_seconds < 60
    assert settings.holdfast_lease_seconds >= settings.longest_call
