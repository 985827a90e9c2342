# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The same objects as files of a Git repository that Flux follows: a commit only when something changed."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core import texts
from .._core.errors import HackspaceError, InvalidInput
from .._core.plan import Plan
from .._kube.normalise import Object
from .apply_plan import SHARED, Bundle
from .ports import Checkout

#: First line of every file; files without it are left alone.
MARK: t.Final = "rendered by hackspace.infra, module tenants"
_FIRST: t.Final = f"# {MARK}: changes by hand are overwritten\n"
_ATTEMPTS: t.Final = 4
_NOT_YET: t.Final = "Secret"
_PREFIX: t.Final = "tenant-"


@dataclasses.dataclass(frozen=True)
class Target:
    """Where to.

    :ivar directory: folder in the repository; everything of ours in it is ours alone.
    :ivar branch: what is compared with; ``review`` is pushed to instead, if it is given.
    """

    directory: str
    branch: str
    review: str = ""

    @property
    def pushed(self) -> str:
        return self.review or self.branch


@dataclasses.dataclass
class Rendered:
    """What was done, or would be.

    :ivar revision: the commit that was pushed; empty if there was nothing to push.
    """

    plan: Plan
    revision: str = ""
    attempts: int = 1

    @property
    def counts(self) -> dict[str, int]:
        """Return by tenant the files that change."""
        names = [c.name for c in self.plan.changes if c.name.startswith(_PREFIX)]
        return {name.removeprefix(_PREFIX).removesuffix(".yaml"): 1 for name in names}


def files(bundles: Iterable[Bundle]) -> dict[str, str]:
    """Return the files: one for each tenant, and one for what all share.

    :raises InvalidInput: if there were a Kubernetes Secret among the objects (rule ``secret-in-git``).
    """
    made = {}
    for bundle in bundles:
        for one in bundle.objects:
            if one.get("kind") == _NOT_YET:
                raise InvalidInput(
                    f"{one['metadata'].get('name')} is a Kubernetes Secret.",
                    item=f"tenant {bundle.tenant}",
                    rule="secret-in-git",
                    fix="use OpenBao or a SealedSecret.",
                )
        if bundle.objects:
            name = f"tenant-{bundle.tenant}.yaml" if bundle.tenant != SHARED else "platform.yaml"
            made[name] = _text(bundle.objects)
    return made


def _text(objects: Sequence[Object]) -> str:
    import yaml

    parts = [
        yaml.safe_dump(one, sort_keys=True, default_flow_style=False, allow_unicode=True, width=120) for one in objects
    ]
    return _FIRST + "---\n" + "---\n".join(parts)


def planned(wanted: Mapping[str, str], current: Mapping[str, str], keep: Iterable[str] = ()) -> Plan:
    """Return what is to be written. No file is ever deleted: what Flux would then take away is a tenant.

    :param keep: files that are not rendered this time and stay as they are.
    :raises Refused: rule ``not-ours``.
    """
    stay = set(keep)
    known = {name: text for name, text in current.items() if name not in stay}
    return texts.plan(wanted, known, MARK, adopt=False, prune=None)


def publish(
    copy: Checkout,
    bundles: Sequence[Bundle],
    target: Target,
    *,
    check: bool,
    keep: Iterable[str] = (),
    lost: type[HackspaceError],
) -> Rendered:
    """Bring the repository to what is rendered; when somebody pushed in between, read again.

    :param keep: names of tenants whose files stay as they are.
    :param lost: the error by which *copy* says that it lost a race.
    """
    wanted = files(bundles)
    texts.check_names(wanted, MARK)
    stay = [f"tenant-{name}.yaml" for name in keep]
    attempt = 0
    while True:
        attempt += 1
        copy.fetch(history=bool(target.review))
        plan = planned(wanted, copy.files(target.directory), stay)
        if not plan.changed:
            return Rendered(plan, attempts=attempt)
        if target.review and copy.branch_exists(target.review) and copy.onto(target.review):
            plan = planned(wanted, copy.files(target.directory), stay)
            if not plan.changed:
                plan.warnings.append(f"what is wanted waits on branch {target.review} for its review.")
                return Rendered(plan, attempts=attempt)
        if check:
            return Rendered(plan, attempts=attempt)
        changes = {c.name: (c.after or {}).get("content") for c in plan.changes}
        revision = copy.commit(target.directory, changes, _message(plan))
        if not revision:
            return Rendered(Plan(unchanged=len(wanted)), attempts=attempt)
        try:
            copy.push(target.pushed)
        except lost:
            if attempt >= _ATTEMPTS:
                raise
            continue
        return Rendered(plan, revision, attempt)


def _message(plan: Plan) -> str:
    names = [c.name.removeprefix("tenant-").removesuffix(".yaml") for c in plan.changes]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    lines = [f"{c.action} {c.name}" for c in plan.changes]
    return f"Tenants: {shown}\n\n" + "\n".join(lines) + "\n"
