# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenBao, PostgreSQL and a cluster with External Secrets; modules run in this process or by Ansible."""

from __future__ import annotations

import dataclasses
import itertools
import secrets
import typing as t
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration.ansible_run import private
from tests.integration.config.conftest import Server
from tests.integration.eso.conftest import EsoSite

MODULE = "openbao_secret_engines"
_COUNTER = itertools.count(1)


@dataclasses.dataclass
class Engines:
    """The lab, and a word that no other test uses in its names."""

    server: Server
    tag: str
    folder: Path

    @property
    def lab(self) -> Lab:
        return self.server.lab

    def run(self, *engines: dict[str, t.Any], **args: t.Any) -> dict[str, t.Any]:
        return self.server.run(MODULE, engines=list(engines), **args)

    def twice(self, *engines: dict[str, t.Any], **args: t.Any) -> dict[str, t.Any]:
        """Run it planned, for real and once more; the plan is what is done, and the last run changes nothing."""
        planned = self.run(*engines, check=True, **args)
        done = self.run(*engines, **args)
        assert planned["changes"] == done["changes"]
        again = self.run(*engines, **args)
        assert again["changes"] == [], again["changes"]
        return done

    def fails(self, rule: str, *engines: dict[str, t.Any], **args: t.Any) -> str:
        """Run what must fail by *rule* and return what it says."""
        error = self.server.fails(MODULE, rule, engines=list(engines), **args)
        assert error.fix
        return str(error)

    def others(self) -> list[dict[str, t.Any]]:
        """Return the engines of other tests, for lists with which something is pruned."""
        mounts = self.server.data("sys/mounts") or {}
        return [
            {
                "path": path.rstrip("/"),
                "type": entry["type"],
                "config": {"max_lease_ttl": str(entry["config"]["max_lease_ttl"])},
            }
            for path, entry in mounts.items()
            if "[hackspace.infra]" in str(entry["description"]) and not path.startswith(f"{self.tag}/")
        ]

    # -- PostgreSQL --------------------------------------------------------------------------------------------------

    def sql(self, text: str) -> str:
        code, said = self.lab.postgres.query(text)
        assert code == 0, said
        return said

    def user(self, name: str, *rights: str) -> tuple[str, str]:
        """Make a database user and return its name and password."""
        user, password = f"{self.tag}-{name}", secrets.token_urlsafe(18)
        self.sql(f"CREATE ROLE \"{user}\" LOGIN {' '.join(rights)} PASSWORD '{password}'")
        return user, password

    def private(self, name: str, text: str) -> str:
        return private(self.folder / name, text + "\n")

    def connection(self, name: str = "main", **more: t.Any) -> tuple[dict[str, t.Any], str, str]:
        """Return a connection of a new database user, with its name and its first password."""
        user, password = self.user(f"root-{name}", "SUPERUSER")
        found = {
            "name": name,
            "connection_url": self.lab.postgres.connection_url,
            "username": user,
            "password_file": self.private(f"{name}-password", password),
            **more,
        }
        return found, user, password

    def credentials(self, role: str) -> tuple[str, str]:
        """Return what a static role has now, asked as root."""
        found = self.server.data(f"{self.tag}/static-creds/{role}") or {}
        return str(found["username"]), str(found["password"])


@pytest.fixture(scope="package")
def eso_site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[EsoSite]:
    """One lab for all tests of this folder."""
    lab = Lab("engines", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao", "member-prod", "eso", "postgres"])
        yield EsoSite(lab, lab.init_openbao().root_token)
    finally:
        lab.down(wipe=True)


@pytest.fixture
def engines(eso_site: EsoSite, tmp_path: Path) -> Engines:
    return Engines(Server(eso_site.lab, eso_site.root), f"e{next(_COUNTER)}", tmp_path)
