# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site whose OpenBao is configured and whose downstream cluster is not wired yet."""

from __future__ import annotations

import typing as t

import pytest

from tests.integration.ansible_run import run_play
from tests.site import SITE, Site, new_site


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    with new_site("reviewers", tmp_path_factory.mktemp("reviewers")) as found:
        run_play(SITE, inventory=found.inventory, args=["--skip-tags", "reviewers"]).ok()
        yield found
