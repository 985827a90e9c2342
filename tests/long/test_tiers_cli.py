# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All broken policies, and both tables of the corpus for both backends, on Kyverno's command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import Backends

from tests.integration.tiers_cli.agreement import agree
from tests.integration.tiers_cli.conftest import program
from tests.integration.tiers_cli.test_cli import mutants, unseen


@pytest.mark.parametrize("backend", ["native", "kyverno"])
@pytest.mark.parametrize("name", ["default", "waves"])
def test_the_command_line_and_the_resolver_agree_on_the_corpus(tmp_path: Path, name: str, backend: str) -> None:
    agree(program(), tmp_path, name, Backends("static", backend, backend), namespaces=True)


def test_each_broken_policy_is_found(tmp_path: Path) -> None:
    assert unseen(program(), tmp_path, mutants()) == []
