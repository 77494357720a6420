"""How the admin looks and is ordered: django-unfold's settings."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy

# The pages' accent in the steps that the admin's look needs.
INDIGO = {
    "50": "oklch(96.2% .018 272.314)",
    "100": "oklch(93% .034 272.788)",
    "200": "oklch(87% .065 274.039)",
    "300": "oklch(78.5% .115 274.713)",
    "400": "oklch(67.3% .182 276.935)",
    "500": "oklch(58.5% .233 277.117)",
    "600": "oklch(51.1% .262 276.966)",
    "700": "oklch(45.7% .24 277.023)",
    "800": "oklch(39.8% .195 277.366)",
    "900": "oklch(35.9% .144 278.697)",
    "950": "oklch(25.7% .09 281.288)",
}


def _item(title: str, icon: str, page: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{page}_changelist")}


def _group(title: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "separator": True, "items": list(items)}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Panelboard admin",
    "SITE_HEADER": "Panelboard",
    "SITE_SUBHEADER": "Administration",
    "SITE_URL": "/",
    "SITE_SYMBOL": "electrical_services",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("favicon.svg"),
        }
    ],
    "COLORS": {"primary": INDIGO},
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            _group(
                "Catalog",
                _item("Providers", "dns", "routing_provider"),
                _item("Models", "neurology", "routing_model"),
                _item("Endpoints", "hub", "routing_endpoint"),
                _item("Prices", "payments", "routing_price"),
            ),
            _group(
                "Routing",
                _item("Policies", "alt_route", "routing_policy"),
                _item("Credentials", "key_vertical", "routing_credential"),
            ),
            _group(
                "People",
                _item("Organizations", "apartment", "routing_organization"),
                _item("Projects", "folder_open", "routing_project"),
                _item("API keys", "vpn_key", "routing_apikey"),
                _item("Limits", "speed", "routing_limit"),
                _item("Access tokens", "token", "routing_accesstoken"),
                _item("Users", "person", "auth_user"),
                _item("Groups", "group", "auth_group"),
            ),
        ],
    },
}
