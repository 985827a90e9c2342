# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""A reader of users in Keycloak's admin API, by client credentials. Decides nothing and writes nothing."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse
from collections.abc import Iterator, Mapping

from .._core.errors import HackspaceError, InvalidInput
from .._core.redact import Secret
from .openbao import Connection, _unreachable

#: Entries asked for at once.
PAGE: t.Final = 100
#: More than this is not a hackspace but an endless list.
_MOST: t.Final = 100_000
_LOOPBACK: t.Final = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d+)?")


@dataclasses.dataclass(frozen=True)
class Realm:
    """Where a realm is and who asks.

    :ivar url: as ``https://sso.example.org``, or with the path below which Keycloak is served.
    """

    url: str
    realm: str
    client_id: str
    client_secret: Secret
    ca_cert: str | None = None
    timeout: float = 10.0

    def checked(self) -> Realm:
        """Return self with an address that may be used.

        :raises InvalidInput: rules ``url``, ``plain-http``, ``ca-file``.
        """
        url = self.url.rstrip("/")
        scheme, sep, rest = url.partition("://")
        if not sep or scheme not in ("http", "https") or not rest or "@" in rest or "?" in rest:
            raise InvalidInput(
                f"{self.url!r} is not an address.",
                item="membership.keycloak.url",
                rule="url",
                fix="give https://host, without user or query.",
            )
        if scheme == "http" and not _LOOPBACK.fullmatch(rest.split("/", 1)[0]):
            raise InvalidInput(
                "plain http is allowed on loopback only.",
                item="membership.keycloak.url",
                rule="plain-http",
                fix="use https.",
            )
        return dataclasses.replace(self, url=url)


class Keycloak:
    """A connection; use it as a context."""

    def __init__(self, realm: Realm) -> None:
        import requests

        self._realm = realm.checked()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = realm.ca_cert or True
        self._token: Secret | None = None
        self.requests = 0

    def __enter__(self) -> Keycloak:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._session.close()

    def users(self, group: str = "") -> list[dict[str, t.Any]]:
        """Return all users of the realm, or of a group given by its path, as UserRepresentations with attributes.

        :raises HackspaceError: for anything but a whole list.
        """
        if not group:
            return list(self._paged(f"{self._admin}/users"))
        path = "/".join(urllib.parse.quote(part, safe="") for part in group.strip("/").split("/"))
        found = self._get(f"{self._admin}/group-by-path/{path}")
        if not isinstance(found, Mapping) or not found.get("id"):
            raise _unexpected("group-by-path")
        return list(self._paged(f"{self._admin}/groups/{urllib.parse.quote(str(found['id']), safe='')}/members"))

    # -- requests --------------------------------------------------------------------------------------------------

    @property
    def _admin(self) -> str:
        return f"{self._realm.url}/admin/realms/{urllib.parse.quote(self._realm.realm, safe='')}"

    def _paged(self, url: str) -> Iterator[dict[str, t.Any]]:
        seen: set[str] = set()
        while True:
            page = self._get(url, first=len(seen), max=PAGE, briefRepresentation="false")
            if not isinstance(page, list) or any(not isinstance(one, dict) or not one.get("id") for one in page):
                raise _unexpected("users")
            fresh = [one for one in page if str(one["id"]) not in seen]
            seen |= {str(one["id"]) for one in fresh}
            yield from fresh
            # A server that caps pages at less than we ask for is asked on, until a page brings nothing.
            if not page:
                return
            if not fresh or len(seen) > _MOST:
                raise _unexpected("users (the pages repeat or never end)")

    def _login(self) -> Secret:
        realm = self._realm
        url = f"{realm.url}/realms/{urllib.parse.quote(realm.realm, safe='')}/protocol/openid-connect/token"
        answer = self._send(
            "POST",
            url,
            data={
                "grant_type": "client_credentials",
                "client_id": realm.client_id,
                "client_secret": realm.client_secret.reveal(),
            },
        )
        token = answer.get("access_token") if isinstance(answer, Mapping) else None
        if not token:
            raise _unexpected("token")
        return Secret(str(token))

    def _get(self, url: str, **query: t.Any) -> t.Any:
        if self._token is None:
            self._token = self._login()
        try:
            return self._send("GET", url, params=query, token=self._token)
        except HackspaceError as error:
            if error.status != 401:
                raise
        # tokens live for a minute by default, lists may take longer
        self._token = self._login()
        return self._send("GET", url, params=query, token=self._token)

    def _send(self, method: str, url: str, *, token: Secret | None = None, **sent: t.Any) -> t.Any:
        import requests

        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.reveal()}"
        self.requests += 1
        try:
            answer = self._session.request(
                method, url, headers=headers, timeout=self._realm.timeout, allow_redirects=False, **sent
            )
        except requests.RequestException as error:
            raise _unreachable(error, Connection(url=self._realm.url, timeout=self._realm.timeout)) from None
        if answer.status_code != 200:
            raise _refused(answer.status_code, url.removeprefix(self._realm.url))
        try:
            return answer.json()
        except ValueError:
            raise _unexpected("JSON") from None


def _unexpected(what: str) -> HackspaceError:
    return HackspaceError(
        f"the answer is not what Keycloak's admin API documents ({what}).",
        item="membership.keycloak",
        rule="keycloak-answer",
        fix="check url and realm, and that nothing but Keycloak answers there.",
    )


def _refused(status: int, path: str) -> HackspaceError:
    # what the server says is left out: an answer to a login may quote what was sent
    login = path.endswith("/token")
    if login and status in (400, 401):
        fix = "check client_id and client_secret_file; the client needs 'Service accounts roles'."
    elif status == 403:
        fix = "give the client's service account the role view-users of the client realm-management."
    elif status == 404:
        fix = "check realm and group."
    else:
        fix = "look at Keycloak's log."
    return HackspaceError(
        f"HTTP {status} for {path}.", item="membership.keycloak", rule="keycloak-refused", fix=fix, status=status
    )
