# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Auth mounts: what differs between the server and the wanted list, in an order that survives an interruption.

Per mount: the mount itself (marked as ours at once), its configuration, then the evidence of its client secret, then
roles and users. What is pruned comes last. Evidence is written after what it is evidence of.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import Refused
from .._core.plan import Change, Plan
from .._core.prune import check_prune
from .config_apply import Send
from .fields import Table, differing, public, server_fields
from .human_plan import Logins, plan_entries
from .mount_mark import Description, Verdict, split, wanted_description
from .mount_model import (
    AUTH_TUNE,
    CONFIGS,
    HIDDEN_PROVIDER_KEYS,
    LOCKOUT,
    REVIEWER_PREFIX,
    AuthMount,
    lockout_of,
)

KIND: t.Final = "auth mount"
#: Types of mounts that are never pruned.
KEPT_TYPES: t.Final = frozenset({"token", "ns_token", "kubernetes"})


@dataclasses.dataclass(frozen=True)
class Present:
    """What a server has.

    :ivar mounts: path without slash -> entry of ``sys/auth``.
    :ivar configs: path -> answer of its ``config``; ``None`` if it has none. Only those that were read.
    :ivar logins: path -> its roles or users. Only those that were read.
    :ivar own_mount: path of the mount by which we are logged in, ``""`` for a bare token.
    :ivar own_names: names of the role or user by which we are logged in.
    :ivar stale: (mount, user) whose wanted password does not work.
    """

    mounts: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    configs: t.Mapping[str, t.Mapping[str, t.Any] | None] = dataclasses.field(default_factory=dict)
    logins: t.Mapping[str, Logins] = dataclasses.field(default_factory=dict)
    own_mount: str = ""
    own_names: frozenset[str] = frozenset()
    stale: frozenset[tuple[str, str]] = frozenset()


def plan(
    present: Present,
    wanted: t.Sequence[AuthMount],
    *,
    adopt: bool = False,
    prune: bool = False,
    prune_max_percent: int = 20,
) -> Plan:
    """Return the steps.

    :raises Refused: for mounts, roles or users that are not ours and would change, for another type, for a prune that
        looks like an accident.
    """
    result = Plan()
    last = Plan()
    verdict = Verdict(adopt)
    for mount in wanted:
        entry = present.mounts.get(mount.path)
        if entry is None:
            _create(result, mount)
            ours = True
        else:
            ours = _existing(result, mount, entry, present, verdict)
        plan_entries(
            result,
            last,
            mount,
            present.logins.get(mount.path, Logins()),
            ours=ours,
            verdict=verdict,
            prune=prune,
            prune_max_percent=prune_max_percent,
            own_names=present.own_names if present.own_mount == mount.path else frozenset(),
            stale=frozenset(name for path, name in present.stale if path == mount.path),
        )
    verdict.finish(result, "mounts")
    result.extend(last)
    if prune:
        _prune(result, present, wanted, prune_max_percent)
    return result


# -- one mount -----------------------------------------------------------------------------------------------------


def _lease(seconds: int, *, tune: bool) -> str:
    return f"{seconds}s" if seconds else ("system" if tune else "0s")


def settings_body(tune: t.Mapping[str, t.Any], *, table: Table, changed: t.Collection[str] | None) -> dict[str, t.Any]:
    """Return the settings of a mount as a request wants them: all that are not default, or those *changed*."""
    result: dict[str, t.Any] = {}
    for name, field in table.items():
        if changed is None and tune[name] == field.empty:
            continue
        if changed is not None and name not in changed:
            continue
        value = tune[name]
        if field.kind == "duration":
            value = _lease(value, tune=changed is not None)
        elif name == "listing_visibility":
            value = value or "hidden"
        result[name] = value
    if changed is not None and {"default_lease_ttl", "max_lease_ttl"} & set(changed):
        # the server compares the two within one request
        for name in ("default_lease_ttl", "max_lease_ttl"):
            result[name] = _lease(tune[name], tune=True)
    return result


def lockout_body(lockout: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the lockout settings as a request wants them."""
    return {
        "lockout_threshold": str(lockout["lockout_threshold"]),
        "lockout_duration": f"{lockout['lockout_duration']}s",
        "lockout_counter_reset_duration": f"{lockout['lockout_counter_reset_duration']}s",
        "lockout_disable": lockout["lockout_disable"],
    }


_PUBLIC: t.Final = public(AUTH_TUNE) | public(LOCKOUT) | {"type", "description", "local", "seal_wrap", "options"}


def _create(result: Plan, mount: AuthMount) -> None:
    description = Description(mount.description or "", True)
    request = {
        "type": mount.type,
        "description": str(description),
        "local": mount.local,
        "seal_wrap": mount.seal_wrap,
        "config": settings_body(mount.tune, table=AUTH_TUNE, changed=None),
    }
    sends = [Send("POST", f"sys/auth/{mount.path}", request)]
    after: dict[str, t.Any] = {
        "type": mount.type,
        "description": str(description),
        "local": mount.local,
        "seal_wrap": mount.seal_wrap,
        **mount.tune,
    }
    if mount.lockout and any(mount.lockout.values()):
        after |= mount.lockout
        sends.append(Send("POST", f"sys/auth/{mount.path}/tune", {"user_lockout_config": lockout_body(mount.lockout)}))
    result.add(Change(KIND, mount.path, "create", None, after, "", _PUBLIC, tuple(sends)))
    _plan_config(result, mount, None, description)


def check_fixed(kind: str, path: str, entry: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> None:
    """Refuse what cannot be changed on a mount that exists.

    :raises Refused: rule ``mount-fixed``.
    """
    for name, value in wanted.items():
        have = entry.get(name) or (False if isinstance(value, bool) else "")
        if have != value:
            raise Refused(
                f"its {name} is {have!r}, not {value!r}. Changing that means a new mount without what this one holds.",
                item=f"{kind} {path}",
                rule="mount-fixed",
                fix="declare what is there, take another path, or delete the mount by hand first.",
            )


def _existing(result: Plan, mount: AuthMount, entry: t.Mapping[str, t.Any], present: Present, verdict: Verdict) -> bool:
    check_fixed(KIND, mount.path, entry, {"type": mount.type, "local": mount.local, "seal_wrap": mount.seal_wrap})
    item = f"{KIND} {mount.path}"
    there = split(entry.get("description"))
    settings = entry.get("config") or {}
    have = server_fields(settings, AUTH_TUNE)
    if have.get("listing_visibility") == "hidden":
        have["listing_visibility"] = ""
    # fields that are at their default are not reported at all
    have = {**{n: f.empty for n, f in AUTH_TUNE.items()}, **have}
    changed = differing(have, mount.tune, AUTH_TUNE, item=item)
    request = settings_body(mount.tune, table=AUTH_TUNE, changed=changed)
    before: dict[str, t.Any] = {"description": str(there), **have}
    after: dict[str, t.Any] = {**mount.tune}
    if mount.lockout is not None:
        lock = lockout_of(settings)
        locks = [n for n in LOCKOUT if lock[n] != mount.lockout[n]]
        before |= lock
        after |= mount.lockout
        changed += locks
        if locks:
            request["user_lockout_config"] = lockout_body(mount.lockout)
    target = wanted_description(there, mount.description)
    if split(target).text != there.text:
        changed.append("description")
    config = _config_differs(mount, present.configs.get(mount.path)) if mount.config is not None else []
    if not there.ours:
        verdict.foreign.append(item)
        if not verdict.adopt:
            if changed or config:
                verdict.refused.append(item)
            else:
                result.unchanged += 1
            return False
    if target != str(there):
        request["description"] = target
    after["description"] = target
    if request:
        result.add(
            Change(
                KIND,
                mount.path,
                "update" if there.ours else "adopt",
                before,
                after,
                f"{', '.join(changed) or 'the mark'} differs",
                _PUBLIC,
                (Send("POST", f"sys/auth/{mount.path}/tune", request),),
            )
        )
    else:
        result.unchanged += 1
    _plan_config(result, mount, present.configs.get(mount.path), split(target))
    return True


# -- its configuration ---------------------------------------------------------------------------------------------


def _shown_provider(config: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    inner = config.get("provider_config") or {}
    return {str(k): v for k, v in inner.items() if k not in HIDDEN_PROVIDER_KEYS}


def config_fields(answer: t.Mapping[str, t.Any], table: Table) -> dict[str, t.Any]:
    """Return the configuration in an answer. A cert mount that was never configured says 0 for its cache of 100."""
    have = server_fields(answer, table)
    if have.get("ocsp_cache_size") == 0:
        have["ocsp_cache_size"] = table["ocsp_cache_size"].empty
    return have


def _config_differs(mount: AuthMount, answer: t.Mapping[str, t.Any] | None) -> list[str]:
    if mount.config is None:
        raise AssertionError("called for mounts with a configuration only")
    table = CONFIGS[mount.type]
    if answer is None:
        return ["configuration"]
    have = config_fields(answer, table)
    want = dict(mount.config)
    if "provider_config" in table:
        have["provider_config"], want["provider_config"] = _shown_provider(have), _shown_provider(want)
    return differing(have, want, table, item=f"{KIND} {mount.path}.method_config")


def _plan_config(result: Plan, mount: AuthMount, answer: t.Mapping[str, t.Any] | None, there: Description) -> None:
    if mount.config is None:
        return
    table = CONFIGS[mount.type]
    changed = _config_differs(mount, answer)
    evidence = mount.evidence
    recorded = {k: v for k, v in there.evidence.items() if k == "oidc_client_secret"}
    if not changed and evidence == recorded:
        result.unchanged += 1
        return
    have = None if answer is None else config_fields(answer, table)
    # a full replace on the server's side: always complete
    request = {n: v for n, v in mount.config.items() if table[n].shown or v != table[n].empty}
    before = None if have is None else dict(have)
    after: dict[str, t.Any] = {n: v for n, v in mount.config.items() if table[n].shown}
    if mount.client_secret:
        request["oidc_client_secret"] = mount.client_secret.reveal()
        after["oidc_client_secret"] = evidence["oidc_client_secret"]
        if before is not None:
            before["oidc_client_secret"] = recorded.get("oidc_client_secret", "")
    if evidence != recorded:
        changed = [*changed, "oidc_client_secret"] if answer is not None else changed
    sends = [Send("POST", f"auth/{mount.path}/config", request)]
    if evidence != recorded:
        final = str(Description(there.text, True, evidence))
        sends.append(Send("POST", f"sys/auth/{mount.path}/tune", {"description": final}))
    result.add(
        Change(
            "auth mount configuration",
            mount.path,
            "create" if answer is None else "update",
            before,
            after,
            f"{', '.join(changed)} differs" if answer is not None else "",
            public(table),
            tuple(sends),
        )
    )


def _prune(result: Plan, present: Present, wanted: t.Sequence[AuthMount], percent: int) -> None:
    listed = {m.path for m in wanted}
    owned = {
        path
        for path, entry in present.mounts.items()
        if split(entry.get("description")).marked
        and str(entry.get("type")) not in KEPT_TYPES
        and not path.startswith(REVIEWER_PREFIX)
    }
    doomed = sorted(owned - listed - {present.own_mount})
    if present.own_mount in owned - listed:
        result.warnings.append(f"not pruned, because the login in use came by it: auth mount {present.own_mount}.")
    check_prune(item="mounts", doomed=doomed, desired=len(wanted), owned=len(owned), max_percent=percent)
    for path in doomed:
        entry = present.mounts[path]
        result.add(
            Change(
                KIND,
                path,
                "delete",
                before={"type": entry.get("type"), "description": entry.get("description")},
                why="ours, and not in the list; all logins by it end",
                public=_PUBLIC,
                payload=(Send("DELETE", f"sys/auth/{path}"),),
            )
        )
