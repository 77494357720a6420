"""One settings file. Everything that differs between installations comes from the environment."""

from __future__ import annotations

from csp import constants as csp

from dashboard import broker, schedule
from dashboard.admin_look import UNFOLD as UNFOLD
from dashboard.database_url import connection_parameters
from dashboard.deadline import BoundedConnection
from dashboard.env import env_bool, env_choice, env_int, env_list, env_secret, env_str
from dashboard.hub_settings import BASE_DIR as BASE_DIR
from dashboard.hub_settings import HubSettings
from dashboard.logs import logging_of

# --- what gateways and recorders without Django know as well ----------------------------------
HUB = HubSettings.from_environment()
DATA_DIR = HUB.data_dir
PANELBOARD_UPSTREAM = HUB.upstream
PANELBOARD_DURABILITY = HUB.durability
PANELBOARD_PRIVATE_UPSTREAMS = HUB.private_upstreams
PANELBOARD_SPOOL_DIR = HUB.spool_dir
PANELBOARD_SPOOL_MAX_BYTES = HUB.spool_max_bytes

# --- secrets: made on the first start, kept in the data folder -------------------------------
SECRETS = HUB.secrets
SECRET_KEY = env_secret("PANELBOARD_SECRET_KEY") or SECRETS.django_secret_key
PANELBOARD_PEPPER: bytes = SECRETS.pepper
PANELBOARD_KEYRING: dict[str, bytes] = SECRETS.keyring
PANELBOARD_ACTIVE_KEY_ID: str = SECRETS.active_key_id

DEBUG = env_bool("PANELBOARD_DEBUG", default=False)
ALLOWED_HOSTS = env_list("PANELBOARD_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("PANELBOARD_TRUSTED_ORIGINS")

# --- the hub ------------------------------------------------------------------------------------
PANELBOARD_URL = env_str("PANELBOARD_URL", f"http://127.0.0.1:{env_int('PORT', 8000, most=65535)}")
PANELBOARD_SIMULATOR = env_choice("PANELBOARD_SIMULATOR", "auto", ("auto", "on", "off"))
SIMULATOR_PORT = env_int("SIMULATOR_PORT", 9470, least=1, most=65535)
PANELBOARD_GATEWAY_URL = env_str("PANELBOARD_GATEWAY_URL", PANELBOARD_URL)
PANELBOARD_BATCH_RUNNERS = env_int("PANELBOARD_BATCH_RUNNERS", 1, least=1, most=64)
PANELBOARD_BATCH_LINES_AT_ONCE = env_int("PANELBOARD_BATCH_LINES_AT_ONCE", 16, least=1, most=256)
PANELBOARD_BATCH_QUEUE = env_str("PANELBOARD_BATCH_QUEUE", "celery")
PANELBOARD_MAX_BODY_BYTES = HUB.max_body_bytes
PANELBOARD_LOG_RETENTION_DAYS = env_int("PANELBOARD_LOG_RETENTION_DAYS", 90, least=1)
PANELBOARD_PROBE_INTERVAL_MINUTES = env_int("PANELBOARD_PROBE_INTERVAL_MINUTES", 15, least=1)
PANELBOARD_PROBE_DAILY_USD = env_str("PANELBOARD_PROBE_DAILY_USD", "1.00")
PANELBOARD_PRICE_JUMP_PERCENT = env_int("PANELBOARD_PRICE_JUMP_PERCENT", 20, least=1)

# --- Django ---------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_celery_results",
    "routing",
    "analytics",
    "dashboard",
]
MIDDLEWARE = [
    "dashboard.middleware.deadline_middleware",
    "django.middleware.security.SecurityMiddleware",
    "dashboard.middleware.ContentPolicyMiddleware",
    "dashboard.middleware.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "dashboard.middleware.DatabaseAwayMiddleware",
]
ROOT_URLCONF = "dashboard.urls"
ASGI_APPLICATION = "dashboard.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.navigation.frame",
            ]
        },
    }
]


def _database(url: str) -> dict[str, object]:
    options = connection_parameters(url)
    named = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{name: options.pop(keyword, "") for name, keyword in named.items()},
        "PORT": str(options.pop("port", "")),
        "CONN_MAX_AGE": 0,  # the pool keeps connections; Django requires 0 with it
        "CONN_HEALTH_CHECKS": True,  # no 500 on the first request after a database restart
        "OPTIONS": {
            "pool": {
                "min_size": 0,
                "max_size": env_int("PANELBOARD_DB_POOL", 10, least=2),
                "timeout": 5,
                "max_idle": 120,
                "reconnect_timeout": 1,  # or the pool's back-off would outlast the outage
                "connection_class": BoundedConnection,
            },
            **options,
        },
    }


DATABASE_URL = HUB.database_url
DATABASES = {"default": _database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
FORMS_URLFIELD_ASSUME_HTTPS = True  # as Django 6 does by itself

PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SECURE = env_bool("PANELBOARD_HTTPS", default=False)
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "dashboard.views.errors.csrf_failed"

# One policy for all pages; the admin alone needs more: its widgets evaluate their attributes.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [csp.NONE],
        "script-src": [csp.SELF],
        "style-src": [csp.SELF, csp.NONCE],
        "img-src": [csp.SELF, "data:"],
        "font-src": [csp.SELF],
        "connect-src": [csp.SELF],
        "form-action": [csp.SELF],
        "base-uri": [csp.NONE],
        "frame-ancestors": [csp.NONE],
    }
}
PANELBOARD_ADMIN_CSP = {
    "script-src": [csp.SELF, csp.UNSAFE_EVAL],
    "style-src": [csp.SELF, csp.UNSAFE_INLINE],
}

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # no collectstatic, so no STATIC_ROOT either
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": ["analytics.rest.auth.AccessTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "analytics.rest.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Panelboard REST API",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Celery: the broker is the same Postgres unless CELERY_BROKER_URL names another ----------------
CELERY_BROKER_URL = env_secret("CELERY_BROKER_URL") or "pgmq://"
CELERY_BROKER_TRANSPORT = broker.transport(CELERY_BROKER_URL)
CELERY_BROKER_TRANSPORT_OPTIONS = broker.transport_options(CELERY_BROKER_URL, DATABASE_URL)
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = broker.LONGEST_TASK_S
CELERY_TASK_SOFT_TIME_LIMIT = broker.LONGEST_TASK_S - 30
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # its queue names are longer than pgmq allows
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = schedule.entries(PANELBOARD_PROBE_INTERVAL_MINUTES)
CELERY_TASK_ROUTES = {"routing.tasks.work_on_batches": {"queue": PANELBOARD_BATCH_QUEUE}}
CELERY_TIMEZONE = "UTC"

LOGGING = logging_of(HUB.log_level)
