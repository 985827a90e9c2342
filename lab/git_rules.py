# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Git server's ways in have in common: who somebody is, what they may, what goes wrong, and the log."""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.files import read_json, write_json

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
PUBLIC_MARK = "git-daemon-export-ok"
APP_USER = "x-access-token"
"""The user of every token that a GitHub App has got."""
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    # Whoever runs the server owns the repositories or not: it does not matter here.
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "gc.auto",
    "GIT_CONFIG_VALUE_1": "0",
    "GIT_CONFIG_KEY_2": "receive.autogc",
    "GIT_CONFIG_VALUE_2": "false",
    "GIT_TERMINAL_PROMPT": "0",
}
# What stays of the environment: where programs are, and the marks by which the lab finds its processes.
_KEPT = ("PATH", "HACKSPACE_LAB_STATE", "HACKSPACE_LAB_PROCESS")


def environment() -> dict[str, str]:
    """With what git runs here."""
    return {**{name: os.environ[name] for name in _KEPT if name in os.environ}, **_ENVIRONMENT}


@dataclass(frozen=True)
class Request:
    """One request as the server saw it."""

    time: float
    method: str
    """As in HTTP, or SSH."""
    path: str
    user: str
    """The name that was given; of a key, a bearer token or an App the one that it belongs to."""
    status: int
    """As in HTTP; of SSH 200 for done, 401 for a key that nobody knows, 404, 403 and 500."""
    login: str = ""
    """How somebody said who they are: basic, bearer, app, key, or not at all."""


@dataclass(frozen=True)
class Holder:
    """Somebody who is known."""

    name: str
    repositories: frozenset[str] | None
    """None is all of them."""
    write: bool

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any]) -> Holder:
        """As it is in a file."""
        some = entry["repositories"]
        return cls(name, None if some is None else frozenset(some), bool(entry["write"]))

    def may(self, repository: str) -> bool:
        """The repository is one of theirs."""
        return self.repositories is None or repository in self.repositories


class Rules:
    """The files that rule a server, read at each request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def _known(self, name: str) -> dict[str, Any]:
        return dict(read_json(self.folder / name) or {})

    # -- who somebody is ---------------------------------------------------------------------------------------

    def by_password(self, user: str, password: str) -> Holder | None:
        """The user of basic authentication, if the password is right."""
        if user == APP_USER:
            return self._by_app_token(password)
        entry = self._known("tokens.json").get(user)
        if entry is None or not hmac.compare_digest(str(entry["token"]).encode(), password.encode()):
            return None
        return Holder.of(user, entry)

    def by_bearer(self, token: str) -> Holder | None:
        """Whose token it is."""
        for user, entry in self._known("tokens.json").items():
            if hmac.compare_digest(str(entry["token"]).encode(), token.encode()):
                return Holder.of(user, entry)
        return None

    def by_key(self, material: str) -> Holder | None:
        """Whose public key it is, by its part in base64."""
        for name, entry in self._known("keys.json").items():
            if str(entry["key"]).split()[1] == material:
                return Holder.of(name, entry)
        return None

    def _by_app_token(self, token: str) -> Holder | None:
        for value, entry in self._known("app_tokens.json").items():
            if hmac.compare_digest(value.encode(), token.encode()) and float(entry["expires"]) > time.time():
                return Holder.of(str(entry["name"]), entry)
        return None

    # -- Apps --------------------------------------------------------------------------------------------------

    def apps(self) -> dict[str, Any]:
        """The GitHub Apps, by number."""
        return self._known("apps.json")

    def app_token(self, name: str, repositories: list[str] | None, seconds: int) -> tuple[str, float]:
        """Make a token of an installation; returns it and when it ends."""
        value, expires = f"lab-app-{secrets.token_urlsafe(24)}", time.time() + seconds
        with self._lock:
            known = self._known("app_tokens.json")
            known[value] = {"name": name, "repositories": repositories, "write": False, "expires": expires}
            write_json(self.folder / "app_tokens.json", known)
        return value, expires

    # -- repositories ------------------------------------------------------------------------------------------

    def repository(self, name: str) -> Path | None:
        """Its folder, if it exists."""
        folder = self.folder / "repositories" / f"{name}.git"
        return folder if NAME.fullmatch(name) and folder.is_dir() else None

    def fault(self, repository: str, method: str) -> int:
        """The status of the fault that is on, after its delay; 0 when the request may go on."""
        fault = self._known("fault.json")
        if fault.get("repository") not in (None, repository) or fault.get("method") not in (None, method):
            return 0
        time.sleep(float(fault.get("seconds", 0)))
        return int(fault.get("status", 0))

    def note(self, method: str, path: str, user: str, status: int, login: str = "") -> None:
        """Write a line of the log."""
        line = Request(time.time(), method, path, user, status, login)
        with self._lock, (self.folder / "requests.jsonl").open("a") as stream:
            stream.write(json.dumps(asdict(line)) + "\n")
