# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GitHub Apps of the Git server: what an App asks GitHub's API for before it can fetch.

An App proves by a JWT, signed with its private key, that it is itself, and gets a token of one of its installations.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import re
import time
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lab.git_rules import Rules

PREFIX = "/api/v3"
_LIFETIME = 3600
_LONGEST_JWT = 600
_DRIFT = 60
_OWNED = re.compile(PREFIX + r"/(?P<kind>orgs|users)/(?P<owner>[^/]+)/installation")
_TOKENS = re.compile(PREFIX + r"/app/installations/(?P<number>[0-9]+)/access_tokens")

Answer = tuple[int, dict[str, Any], str]
"""The status, the body, and who asked."""


def answer(rules: Rules, method: str, path: str, token: str) -> Answer:
    """Answer one request."""
    apps = rules.apps()
    app = _verified(token, {number: str(entry["public_key"]) for number, entry in apps.items()})
    if app is None:
        return 401, {"message": "A JSON web token could not be decoded"}, ""
    installations: dict[str, Any] = apps[app]["installations"]
    owned, wanted = _OWNED.fullmatch(path), _TOKENS.fullmatch(path)
    if owned and method == "GET":
        for number, entry in installations.items():
            if entry["owner"] == owned["owner"] and entry["kind"] == owned["kind"]:
                return 200, {"id": int(number), "app_id": int(app)}, f"app {app}"
    if wanted and method == "POST" and wanted["number"] in installations:
        entry = installations[wanted["number"]]
        value, expires = rules.app_token(f"app {app}", entry["repositories"], _LIFETIME)
        until = datetime.datetime.fromtimestamp(expires, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 201, {"token": value, "expires_at": until, "permissions": {"contents": "read"}}, f"app {app}"
    return 404, {"message": "Not Found"}, f"app {app}"


def _verified(token: str, keys: dict[str, str]) -> str | None:
    """The number of the App that has signed a JWT, if GitHub would take it."""
    try:
        head, body, signature = token.split(".")
        header, claims = json.loads(_decoded(head)), json.loads(_decoded(body))
        app, issued, ends = str(claims["iss"]), float(claims["iat"]), float(claims["exp"])
        if header["alg"] != "RS256" or app not in keys:
            return None
        key = serialization.load_pem_public_key(keys[app].encode())
        if not isinstance(key, rsa.RSAPublicKey):
            return None
        key.verify(_decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, KeyError, TypeError, InvalidSignature, binascii.Error):
        return None
    now = time.time()
    in_time = issued <= now + _DRIFT and ends > now and ends - now <= _LONGEST_JWT
    return app if in_time else None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
