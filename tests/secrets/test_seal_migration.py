# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole seal migration at the highest verbosity, searched for the shares, the seal's token and the login."""

from __future__ import annotations

import stat
import typing as t

import pytest

from lab.api import Lab
from tests.integration.seal_migration.migration_site import MigrationSite
from tests.secrets.test_site import leaks, notations


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[MigrationSite]:
    lab = Lab("secrets-migration", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao", "transit"], init=True)
        yield MigrationSite(lab, tmp_path_factory.mktemp("site"))
    finally:
        lab.down(wipe=True)


def test_nothing_is_printed_or_left_behind(site: MigrationSite) -> None:
    secrets = {text for secret in (*site.lab.secrets(), *site.shares.values()) for text in notations(secret)}
    assert site.transit.token in secrets
    planned = site.run("transit", check=True, verbosity=4).ok()
    assert leaks(planned, secrets) == []
    migrated = site.run("transit", verbosity=4).ok()
    assert migrated.changed
    assert leaks(migrated, secrets) == []
    for node in site.nodes:
        assert stat.S_IMODE(site.lab.seal_file(node["name"]).stat().st_mode) == 0o600
