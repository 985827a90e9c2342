# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Opt-in, capped pruning: one rule for every list that a module owns."""

from __future__ import annotations

import typing as t

from .errors import Refused


def check_prune(
    *,
    item: str,
    doomed: t.Sequence[str],
    desired: int,
    owned: int,
    max_percent: int,
) -> None:
    """Refuse a prune that looks like an accident.

    :param item: the list's name as the user knows it (``openbao_policies.policies``).
    :param doomed: names that would be deleted.
    :param desired: number of items wanted.
    :param owned: number of items that exist and are ours (what *max_percent* is a share of).
    :param max_percent: cap, 0 to 100. One item may always go, so that small lists are not stuck.
    :raises Refused: when the wanted list is empty (rule ``prune-empty``) or the cap is exceeded (``prune-cap``).
    """
    if not doomed:
        return
    shown = ", ".join(sorted(doomed)[:10])
    data = {"would_delete": sorted(doomed)}
    if desired == 0:
        raise Refused(
            f"the wanted list is empty; {len(doomed)} owned item(s) would be deleted ({shown}).",
            item=item,
            rule="prune-empty",
            fix="give at least one item, or delete the last ones by hand.",
            data=data,
        )
    if len(doomed) > 1 and len(doomed) * 100 > owned * max_percent:
        raise Refused(
            f"{len(doomed)} of {owned} owned items would be deleted, more than {max_percent} %: {shown}.",
            item=item,
            rule="prune-cap",
            fix="check the list; raise prune_max_percent for this run if the deletion is meant.",
            data=data,
        )
