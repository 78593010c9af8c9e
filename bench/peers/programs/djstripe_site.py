"""dj-stripe in a Django project of one file, configured as its documentation says; `python djstripe_site.py` prepares its database."""

import os
import sys

import django
import stripe
from django.conf import settings
from django.core.management import call_command
from django.urls import include, path


def keep_only(trigger, **_):
    """What WEBHOOK_EVENT_CALLBACK is for: the trigger is stored, and processing is left to somebody else."""


_KEY = "sk_test_" + "bench0123456789bench0123456789"

settings.configure(
    DEBUG=False,
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djstripe"],
    MIDDLEWARE=[],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["BENCH_PG_HOST"],
            "NAME": os.environ["BENCH_PG_NAME"],
            "USER": os.environ["BENCH_PG_USER"],
            "CONN_MAX_AGE": None,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    STRIPE_API_HOST=os.environ["BENCH_STRIPE"],
    STRIPE_TEST_SECRET_KEY=_KEY,
    STRIPE_LIVE_MODE=False,
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"all": {"class": "logging.StreamHandler"}},
        "root": {"level": "ERROR", "handlers": ["all"]},
    },
    **({"DJSTRIPE_WEBHOOK_EVENT_CALLBACK": keep_only} if os.environ.get("BENCH_STORE_ONLY") else {}),
)
django.setup()
stripe.api_key = _KEY  # a product's features are listed without the key that is passed around otherwise
urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]


def prepare():
    """Migrate, register the endpoint with its secret, and print the path of its URL."""
    from django.urls import reverse
    from djstripe.models import WebhookEndpoint

    call_command("migrate", verbosity=0)
    endpoint = WebhookEndpoint.objects.create(
        id="we_bench",
        livemode=False,
        secret=os.environ["BENCH_SECRET"],
        url="http://127.0.0.1/",
        status="enabled",
        enabled_events=["*"],
        djstripe_validation_method="verify_signature",
        stripe_data={},
    )
    sys.stdout.write(reverse("djstripe:djstripe_webhook_by_uuid", kwargs={"uuid": endpoint.djstripe_uuid}) + "\n")


if __name__ == "__main__":
    prepare()
else:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
