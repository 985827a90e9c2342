# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads what there is to know about a living server, with several connections at once; decides nothing."""

from __future__ import annotations

import concurrent.futures
import queue
import typing as t
import urllib.parse

from .openbao import Answer, OpenBao

#: Connections used at once: enough to hide the network, few enough not to be noticed.
WORKERS: t.Final = 8

#: Type of an auth mount -> what lives in it: (kind, path below the mount).
LISTS: t.Final[t.Mapping[str, tuple[tuple[str, str], ...]]] = {
    "approle": (("role", "role"),),
    "aws": (("role", "roles"),),
    "azure": (("role", "role"),),
    "cert": (("certificate role", "certs"),),
    "gcp": (("role", "role"),),
    "github": (("team", "map/teams"), ("user", "map/users")),
    "jwt": (("role", "role"),),
    "kerberos": (("group", "groups"),),
    "kubernetes": (("role", "role"),),
    "ldap": (("group", "groups"), ("user", "users")),
    "oidc": (("role", "role"),),
    "okta": (("group", "groups"), ("user", "users")),
    "radius": (("user", "users"),),
    "userpass": (("user", "users"),),
}

#: Auth mounts whose configuration the findings look at.
CONFIGURED: t.Final = frozenset({"kubernetes"})

_NO: t.Final = (400, 403, 404, 405)

Result = t.TypeVar("Result")


def quoted(name: str) -> str:
    """Return *name* as one segment of a path."""
    return urllib.parse.quote(name, safe="@:+,=~")


class _Pool:
    """Several connections with one login."""

    def __init__(self, client: OpenBao) -> None:
        self._clients: queue.SimpleQueue[OpenBao] = queue.SimpleQueue()
        self._clones = [client.clone() for _other in range(WORKERS)]
        for clone in self._clones:
            self._clients.put(clone)
        self._threads = concurrent.futures.ThreadPoolExecutor(WORKERS)

    def map(self, work: t.Callable[[OpenBao, str], Result], names: t.Sequence[str]) -> list[Result]:
        """Return ``work(client, name)`` for each name, in order; the first error ends it."""

        def one(name: str) -> Result:
            client = self._clients.get()
            try:
                return work(client, name)
            finally:
                self._clients.put(client)

        return list(self._threads.map(one, names))

    def close(self, client: OpenBao) -> None:
        self._threads.shutdown(cancel_futures=True)
        for clone in self._clones:
            client.requests += clone.requests
            clone.close()


def read_facts(client: OpenBao, *, tokens: bool = True, limit: int = 1000) -> dict[str, t.Any]:
    """Return what ``_openbao.info_findings`` judges and ``_openbao.info_report`` reports.

    What the login may not read is left out and named in ``not_checked``; no answer at all is an error.
    """
    seal = client.request("GET", "sys/seal-status", token=False).body
    facts: dict[str, t.Any] = {"seal": seal, "version": str(seal.get("version") or ""), "not_checked": []}
    if seal.get("sealed") or not seal.get("initialized", True):
        facts["not_checked"].append(
            {"what": "everything but the seal", "why": "the server is sealed or not initialised"}
        )
        facts["requests"] = client.requests
        return facts
    client.login()
    pool = _Pool(client)
    try:
        _Reader(client, pool, facts, limit).read(tokens=tokens)
    finally:
        pool.close(client)
    facts["requests"] = client.requests
    return facts


class _Reader:
    def __init__(self, client: OpenBao, pool: _Pool, facts: dict[str, t.Any], limit: int) -> None:
        self._client = client
        self._pool = pool
        self._facts = facts
        self._limit = limit
        self._lost_references = False

    def read(self, *, tokens: bool) -> None:
        facts = self._facts
        own = self._get("auth/token/lookup-self", "the login of this run")
        facts["own_accessor"] = (own or {}).get("accessor")
        auth = self._get("sys/auth", "auth mounts")
        facts["auth"] = None if auth is None else {p.strip("/"): m for p, m in auth.items() if isinstance(m, dict)}
        engines = self._get("sys/mounts", "secret engines")
        facts["secret_engines"] = (
            None if engines is None else {p.strip("/"): m for p, m in engines.items() if isinstance(m, dict)}
        )
        facts["policies"] = self._list("sys/policies/acl", "OpenBao policies")
        self._auth_mounts()
        self._token_roles()
        self._identities()
        self._raft()
        audit = self._get("sys/audit", "audit devices")
        facts["audit"] = (
            None if audit is None else sorted(p.strip("/") for p, d in audit.items() if isinstance(d, dict))
        )
        if tokens:
            self._tokens()
        else:
            facts["tokens"] = None
            self._skip("tokens", "not asked for (tokens: false)")
        facts["references_not_checked"] = self._lost_references

    # -- one request ---------------------------------------------------------------------------------------------

    def _skip(self, what: str, why: str, *, references: bool = False) -> None:
        self._facts["not_checked"].append({"what": what, "why": why})
        self._lost_references = self._lost_references or references

    @staticmethod
    def _why(answer: Answer) -> str:
        if answer.status == 403:
            return "the login may not read it (HTTP 403)"
        said = "; ".join(str(e).strip() for e in answer.body.get("errors") or [])
        return f"HTTP {answer.status}" + (f": {said}" if said else "")

    def _get(self, path: str, what: str) -> dict[str, t.Any] | None:
        answer = self._client.request("GET", path, ok=(200, *_NO))
        if answer.status != 200:
            self._skip(what, self._why(answer))
            return None
        inner = answer.body.get("data")
        return inner if isinstance(inner, dict) else {}

    def _list(self, path: str, what: str, *, references: bool = False) -> list[str] | None:
        """LIST; 404 is an empty list, everything else that is not 200 is said."""
        answer = self._client.request("LIST", path, ok=(200, *_NO))
        if answer.status == 404 and not answer.body.get("errors"):
            return []
        if answer.status != 200:
            self._skip(what, self._why(answer), references=references)
            return None
        return [str(k) for k in (answer.body.get("data") or {}).get("keys") or []]

    def _capped(self, names: list[str], what: str, *, references: bool = False) -> list[str]:
        if len(names) > self._limit:
            rest = len(names) - self._limit
            self._skip(f"{rest} of {len(names)} {what}", f"limit is {self._limit}", references=references)
        return names[: self._limit]

    def _each(self, base: str, names: list[str], what: str) -> list[tuple[str, dict[str, t.Any]]]:
        """GET ``base/<name>`` for each name at once; what is gone in the meantime is left out."""

        def one(client: OpenBao, name: str) -> Answer:
            return client.request("GET", f"{base}/{quoted(name)}", ok=(200, *_NO))

        result, refused = [], []
        for name, answer in zip(names, self._pool.map(one, names), strict=True):
            if answer.status == 200:
                inner = answer.body.get("data")
                result.append((name, inner if isinstance(inner, dict) else {}))
            elif answer.status != 404:
                refused.append(answer)
        if refused:
            self._skip(f"{len(refused)} of {len(names)} {what}", self._why(refused[0]), references=True)
        return result

    # -- parts ---------------------------------------------------------------------------------------------------

    def _auth_mounts(self) -> None:
        configs: dict[str, t.Any] = {}
        roles: dict[str, t.Any] = {}
        self._facts["auth_config"], self._facts["auth_roles"] = configs, roles
        for path, mount in sorted((self._facts["auth"] or {}).items()):
            kind = str(mount.get("type") or "")
            if kind == "token":
                continue
            if kind in CONFIGURED:
                answer = self._client.request("GET", f"auth/{path}/config", ok=(200, *_NO))
                if answer.status in (200, 404):
                    configs[path] = answer.body.get("data") or {}
                else:
                    self._skip(f"configuration of auth mount {path}", self._why(answer))
            if kind not in LISTS:
                self._skip(f"roles of auth mount {path}", f"type {kind} is not known here", references=True)
                continue
            for what, below in LISTS[kind]:
                title = f"{what}s of auth mount {path}"
                names = self._list(f"auth/{path}/{below}", title, references=True)
                if names is None:
                    continue
                names = self._capped([n for n in names if not n.endswith("/")], title, references=True)
                found = self._each(f"auth/{path}/{below}", names, title)
                roles.setdefault(path, []).extend({"kind": what, "name": n, "fields": f} for n, f in found)

    def _token_roles(self) -> None:
        names = self._list("auth/token/roles", "token roles", references=True)
        found = self._each("auth/token/roles", self._capped(names or [], "token roles", references=True), "token roles")
        self._facts["token_roles"] = [{"name": n, "fields": f} for n, f in found]

    def _identities(self) -> None:
        result: list[dict[str, t.Any]] = []
        for kind, plural in (("group", "groups"), ("entity", "entities")):
            title = f"identity {plural}"
            ids = self._list(f"identity/{kind}/id", title, references=True)
            found = self._each(f"identity/{kind}/id", self._capped(ids or [], title, references=True), title)
            result += [
                {"kind": kind, "name": f.get("name") or n, "policies": f.get("policies") or []} for n, f in found
            ]
        self._facts["identities"] = result

    def _raft(self) -> None:
        if str(self._facts["seal"].get("storage_type") or "raft") != "raft":
            self._skip("raft peers", f"the storage is {self._facts['seal']['storage_type']}, not raft")
            return
        configuration = self._get("sys/storage/raft/configuration", "raft peers")
        self._facts["raft"] = (
            None if configuration is None else (configuration.get("config") or {}).get("servers") or []
        )
        self._facts["autopilot"] = self._get("sys/storage/raft/autopilot/state", "health of the raft peers")

    def _tokens(self) -> None:
        self._facts["tokens"] = None
        accessors = self._list("auth/token/accessors", "tokens", references=True)
        if accessors is None:
            return

        def one(client: OpenBao, accessor: str) -> Answer:
            return client.request(
                "POST", "auth/token/lookup-accessor", {"accessor": accessor}, ok=(200, *_NO), quiet=True
            )

        wanted = self._capped(accessors, "tokens", references=True)
        found, refused = [], []
        for answer in self._pool.map(one, wanted):
            if answer.status == 200:
                data = dict(answer.body.get("data") or {})
                data.pop("id", None)
                found.append(data)
            elif not any("invalid accessor" in str(e) for e in answer.body.get("errors") or []):
                refused.append(answer)  # an unknown accessor is a token that ended in the meantime
        if refused:
            self._skip(f"{len(refused)} of {len(accessors)} tokens", self._why(refused[0]), references=True)
        self._facts["tokens"] = found
