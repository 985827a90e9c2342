# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From every mode to every other one, and a move killed at every point, on and back."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.model import MODES

from tests.integration.reviewer_modes.conftest import Tenant
from tests.integration.reviewer_modes.test_moves import (
    KILLS,
    PAIRS,
    POINTS,
    from_mode_to_mode,
    killed_and_run_again,
)
from tests.integration.reviewers.conftest import Proxies

MORE_PAIRS = [pair for pair in itertools.permutations(MODES, 2) if pair not in PAIRS]
MORE_KILLS = [kill for kill in itertools.product(POINTS, (False, True)) if kill not in KILLS]


@pytest.mark.parametrize(("old", "new"), MORE_PAIRS, ids=["-to-".join(pair) for pair in MORE_PAIRS])
def test_from_each_mode_to_each_other(tenant: Tenant, old: str, new: str) -> None:
    from_mode_to_mode(tenant, old, new)


@pytest.mark.parametrize(
    ("point", "back"), MORE_KILLS, ids=[f"{p}-{'back' if b else 'forward'}" for p, b in MORE_KILLS]
)
def test_killed_anywhere(tenant: Tenant, proxies: Proxies, point: str, back: bool) -> None:
    killed_and_run_again(tenant, proxies, point, back=back)
