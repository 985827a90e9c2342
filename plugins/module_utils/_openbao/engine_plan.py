# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Secret engines: the wanted list, and what differs. A mount that may hold data is never given up by accident."""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from .._core.errors import Refused, check
from .._core.plan import Change, Plan
from .._core.prune import check_prune
from . import database_plan, pki_plan, transit_plan
from .config_apply import Send
from .engine_entries import Context, Seen
from .fields import Field, Table, body, canonical, differing, parse_fields, public, server_fields
from .mount_mark import Description, Verdict, split, wanted_description
from .mount_model import TUNE, mount_path, parse_tune
from .mount_plan import check_fixed, settings_body

KIND: t.Final = "secret engine"
RESERVED: t.Final = ("sys", "identity", "cubbyhole", "auth")
#: Types of mounts that the server makes and keeps.
KEPT_TYPES: t.Final = frozenset({"system", "identity", "cubbyhole", "ns_system", "ns_identity", "ns_cubbyhole"})
KV_CONFIG: t.Final[Table] = {
    "max_versions": Field("int"),
    "cas_required": Field("bool"),
    "delete_version_after": Field("duration"),
}
_PUBLIC: t.Final = public(TUNE) | public(KV_CONFIG) | {"type", "description", "local", "seal_wrap", "options"}


Content: t.TypeAlias = "transit_plan.Transit | pki_plan.Pki | database_plan.Database"
#: Option with the content of an engine -> its type.
CONTENTS: t.Final = {"transit_keys": "transit", "pki": "pki", "database": "database"}


@dataclasses.dataclass(frozen=True)
class Engine:
    """A wanted secret engine.

    :ivar description: without our mark; ``None`` keeps what is there.
    :ivar options: options of the engine (``version`` of kv); only those given are compared.
    :ivar config: configuration of a kv version 2 engine; ``None`` is left alone.
    :ivar upgrade_kv: a kv engine of version 1 may be upgraded.
    :ivar content: keys, roles, connections in it; ``None`` leaves all of it alone.
    """

    path: str
    type: str
    description: str | None
    tune: t.Mapping[str, t.Any]
    options: t.Mapping[str, str]
    config: t.Mapping[str, t.Any] | None = None
    local: bool = False
    seal_wrap: bool = False
    upgrade_kv: bool = False
    content: Content | None = None

    @property
    def config_path(self) -> str:
        return f"{self.path}/config"


@dataclasses.dataclass(frozen=True)
class Present:
    """What a server has: path without slash -> entry of ``sys/mounts``; path -> configuration of kv engines read.

    :ivar seen: what was read of what lies in engines.
    :ivar requests: PKI engine -> certificate request for the key that it holds.
    """

    mounts: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    configs: t.Mapping[str, t.Mapping[str, t.Any] | None] = dataclasses.field(default_factory=dict)
    seen: Seen = dataclasses.field(default_factory=Seen)
    requests: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


def kv_version(entry: t.Mapping[str, t.Any]) -> str:
    """Return the version of a kv mount."""
    return str((entry.get("options") or {}).get("version") or "1")


def parse(raw: t.Sequence[t.Mapping[str, t.Any]], *, item: str = "engines") -> list[Engine]:
    """Return the wanted secret engines.

    :raises InvalidInput: naming the first thing that is wrong.
    """
    found: dict[str, Engine] = {}
    for number, entry in enumerate(raw):
        where = f"{item}[{number}]"
        path = mount_path(entry.get("path"), item=where, reserved=RESERVED)
        where = f"{where} ({path})"
        check(path not in found, "is in the list twice.", item=where, rule="unique-path", fix="remove one of the two.")
        for other in found:
            check(
                not path.startswith(f"{other}/") and not other.startswith(f"{path}/"),
                f"lies within the mount {other}, which OpenBao refuses.",
                item=where,
                rule="mount-nested",
                fix="take another path.",
            )
        found[path] = _engine(entry, path, where)
    signers = _signers(found.values())
    for path in signers:
        pki_plan.depth(path, signers)
    return list(found.values())


def _signers(engines: t.Iterable[Engine]) -> dict[str, str]:
    """Return which PKI engine is signed by which."""
    return {
        e.path: e.content.authority.signed_by
        for e in engines
        if isinstance(e.content, pki_plan.Pki) and e.content.authority and e.content.authority.signed_by
    }


def _engine(raw: t.Mapping[str, t.Any], path: str, where: str) -> Engine:
    type_ = str(raw.get("type") or "")
    check(
        re.fullmatch(r"[a-z][a-z0-9_.-]*", type_) and type_ not in KEPT_TYPES,
        f"{type_!r} is not the type of a secret engine.",
        item=where,
        rule="mount-type",
        fix="kv, transit, pki, database, ssh, totp, ...",
    )
    check(
        type_ not in ("kv-v1", "kv-v2", "generic"),
        f"{type_} is a short form that the server does not keep.",
        item=where,
        rule="kv-type",
        fix='write type: kv and options: {version: "2"}.',
    )
    options = {str(k): str(v) for k, v in (raw.get("options") or {}).items()}
    if type_ == "kv":
        options.setdefault("version", "1")
        check(
            options["version"] in ("1", "2"),
            f"{options['version']!r} is no version of kv.",
            item=f"{where}.options.version",
            rule="kv-version",
            fix='write "2".',
        )
    config: dict[str, t.Any] | None = None
    if raw.get("engine_config") is not None:
        check(
            type_ == "kv" and options["version"] == "2",
            "only kv engines of version 2 have a configuration that this module writes.",
            item=f"{where}.engine_config",
            rule="engine-config-type",
            fix='give options: {version: "2"}, or leave engine_config out.',
        )
        config = parse_fields(raw["engine_config"], KV_CONFIG, item=f"{where}.engine_config")
        check(
            config["max_versions"] >= 0,
            "is negative.",
            item=f"{where}.engine_config.max_versions",
            rule="max-versions",
            fix="0 means the server's default of 10.",
        )
    description = raw.get("description")
    check(
        description is None or "[hackspace.infra" not in str(description),
        "contains the mark that the module writes by itself.",
        item=f"{where}.description",
        rule="description-mark",
        fix="leave it out.",
    )
    tune = parse_tune(raw.get("config") or {}, TUNE, item=f"{where}.config")
    return Engine(
        path=path,
        type=type_,
        description=None if description is None else str(description).strip(),
        tune=tune,
        options=options,
        config=config,
        local=bool(raw.get("local")),
        seal_wrap=bool(raw.get("seal_wrap")),
        upgrade_kv=bool(raw.get("upgrade_kv")),
        content=_content(raw, type_, int(tune["max_lease_ttl"]), where),
    )


def _content(raw: t.Mapping[str, t.Any], type_: str, max_lease: int, where: str) -> Content | None:
    for option, wanted in CONTENTS.items():
        check(
            raw.get(option) is None or type_ == wanted,
            f"belongs to engines of type {wanted}, and this one is {type_}.",
            item=f"{where}.{option}",
            rule="engine-content-type",
            fix="move it to another engine.",
        )
    if raw.get("transit_keys") is not None:
        return transit_plan.parse(raw["transit_keys"], item=f"{where}.transit_keys")
    if raw.get("pki") is not None:
        return pki_plan.parse(raw["pki"], max_lease=max_lease, item=f"{where}.pki")
    if raw.get("database") is not None:
        return database_plan.parse(raw["database"], item=f"{where}.database")
    return None


def _there(wanted: t.Iterable[Engine], mounts: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[tuple[str, Content]]:
    """Return the engines with wanted content that exist."""
    return [
        (e.path, e.content)
        for e in wanted
        if e.content is not None and e.path in mounts and mounts[e.path].get("type") == e.type
    ]


def lists(wanted: t.Iterable[Engine], mounts: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """Return the paths to list before planning."""
    return [path for mount, content in _there(wanted, mounts) for path in content.lists(mount)]


def details(
    wanted: t.Iterable[Engine],
    mounts: t.Mapping[str, t.Mapping[str, t.Any]],
    listed: t.Mapping[str, t.Sequence[str]],
    *,
    prune: bool,
) -> list[str]:
    """Return the paths to read before planning: of what is wanted and there, and of nothing else."""
    found = [p for mount, content in _there(wanted, mounts) for p in content.details(mount, listed, prune=prune)]
    return list(dict.fromkeys(found))


def plan(
    present: Present,
    wanted: t.Sequence[Engine],
    *,
    adopt: bool = False,
    prune: bool = False,
    prune_max_percent: int = 20,
    allow_data_loss: bool = False,
    now: datetime.datetime | None = None,
) -> Plan:
    """Return the steps: per engine the mount, then its configuration; then what lies in them; what is pruned last.

    :param now: the controller's clock; needed if there is content.

    :raises Refused: for engines that are not ours and would change, for what would lose data.
    """
    result = Plan()
    verdict = Verdict(adopt)
    for engine in wanted:
        entry = present.mounts.get(engine.path)
        if entry is None:
            _create(result, engine)
        else:
            _existing(result, engine, entry, present.configs.get(engine.path), verdict)
    last = Plan()
    signers = _signers(wanted)
    for engine in sorted(wanted, key=lambda e: pki_plan.depth(e.path, signers)):
        if engine.content is None:
            continue
        entry = present.mounts.get(engine.path)
        context = Context(
            mount=engine.path,
            ours=entry is None or adopt or split(entry.get("description")).ours,
            seen=present.seen,
            result=result,
            last=last,
            verdict=verdict,
            now=now or datetime.datetime.now(datetime.UTC),
            prune=prune,
            prune_max_percent=prune_max_percent,
            allow_data_loss=allow_data_loss,
        )
        _plan_content(context, engine.content, present, wanted)
    verdict.finish(result, "engines")
    result.extend(last)
    if prune:
        _prune(result, present, wanted, prune_max_percent, allow_data_loss)
    return result


def _plan_content(context: Context, content: Content, present: Present, wanted: t.Sequence[Engine]) -> None:
    if isinstance(content, transit_plan.Transit):
        transit_plan.plan(context, content)
    elif isinstance(content, database_plan.Database):
        database_plan.plan(context, content)
    else:
        pki_plan.plan(context, content, requests=present.requests, signers=_known_signers(present, wanted))


def _known_signers(present: Present, wanted: t.Sequence[Engine]) -> dict[str, pki_plan.Signer]:
    known: dict[str, pki_plan.Signer] = {}
    for path, entry in present.mounts.items():
        lease = server_fields(entry.get("config") or {}, TUNE).get("max_lease_ttl")
        limit = lease if isinstance(lease, int) and lease else pki_plan.SYSTEM_MAX
        known[path] = pki_plan.Signer(str(entry.get("type")), limit)
    for engine in wanted:
        if isinstance(engine.content, pki_plan.Pki) and engine.content.authority:
            limit = int(engine.tune["max_lease_ttl"]) or pki_plan.SYSTEM_MAX
            known[engine.path] = pki_plan.Signer(engine.type, limit, engine.content.authority.fields.get("ttl", 0))
    return known


def _create(result: Plan, engine: Engine) -> None:
    description = str(Description(engine.description or "", True))
    request: dict[str, t.Any] = {
        "type": engine.type,
        "description": description,
        "local": engine.local,
        "seal_wrap": engine.seal_wrap,
        "config": settings_body(engine.tune, table=TUNE, changed=None),
    }
    if engine.options:
        request["options"] = dict(engine.options)
    after = {**{k: v for k, v in request.items() if k != "config"}, **engine.tune}
    result.add(
        Change(
            KIND, engine.path, "create", None, after, "", _PUBLIC, (Send("POST", f"sys/mounts/{engine.path}", request),)
        )
    )
    if engine.config is not None and any(v != KV_CONFIG[n].empty for n, v in engine.config.items()):
        _configure(result, engine, None, "")


def _config_body(config: t.Mapping[str, t.Any], have: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    request = body(config, KV_CONFIG, have=have)
    if "delete_version_after" in request:
        request["delete_version_after"] = f"{request['delete_version_after']}s"
    return request


def _configure(result: Plan, engine: Engine, have: t.Mapping[str, t.Any] | None, why: str) -> None:
    if engine.config is None:
        raise AssertionError("called for engines with a configuration only")
    send = Send("POST", engine.config_path, _config_body(engine.config, have), upgrading=True)
    result.add(
        Change(
            "configuration of the secret engine",
            engine.path,
            "update",
            have,
            dict(engine.config),
            why,
            _PUBLIC,
            (send,),
        )
    )


def _existing(
    result: Plan,
    engine: Engine,
    entry: t.Mapping[str, t.Any],
    answer: t.Mapping[str, t.Any] | None,
    verdict: Verdict,
) -> None:
    item = f"{KIND} {engine.path}"
    check_fixed(KIND, engine.path, entry, {"type": engine.type, "local": engine.local, "seal_wrap": engine.seal_wrap})
    there = split(entry.get("description"))
    have = {n: canonical(None, f, item=n) for n, f in TUNE.items()} | server_fields(entry.get("config") or {}, TUNE)
    if have["listing_visibility"] == "hidden":
        have["listing_visibility"] = ""
    changed = differing(have, engine.tune, TUNE, item=item)
    request = settings_body(engine.tune, table=TUNE, changed=changed)
    options = {str(k): str(v) for k, v in (entry.get("options") or {}).items()}
    if engine.type == "kv":
        options["version"] = kv_version(entry)
    wrong = {k: v for k, v in engine.options.items() if options.get(k) != v}
    if wrong:
        changed.append("options")
        request["options"] = {**options, **wrong}
        if "version" in wrong and engine.type == "kv":
            _check_upgrade(engine, options["version"])
    before: dict[str, t.Any] = {"description": str(there), "options": options, **have}
    target = wanted_description(there, engine.description)
    if split(target).text != there.text:
        changed.append("description")
    have_config = server_fields(answer or {}, KV_CONFIG)
    config = (
        differing(have_config, engine.config, KV_CONFIG, item=f"{item}.engine_config")
        if engine.config is not None and answer is not None
        else []
    )
    upgraded = engine.config is not None and answer is None and any(engine.config.values())
    if not there.ours:
        verdict.foreign.append(item)
        if not verdict.adopt:
            if changed or config:
                verdict.refused.append(item)
            else:
                result.unchanged += 1
            return
    if target != str(there):
        request["description"] = target
    after = {"description": target, "options": {**options, **wrong}, **engine.tune}
    if request:
        result.add(
            Change(
                KIND,
                engine.path,
                "update" if there.ours else "adopt",
                before,
                after,
                f"{', '.join(changed) or 'the mark'} differs",
                _PUBLIC,
                (Send("POST", f"sys/mounts/{engine.path}/tune", request),),
            )
        )
    else:
        result.unchanged += 1
    if config or upgraded:
        _configure(result, engine, have_config or None, f"{', '.join(config)} differs" if config else "")


def _check_upgrade(engine: Engine, version: str) -> None:
    if version == "2":
        raise Refused(
            "is of version 2; kv engines cannot go back to version 1.",
            item=f"{KIND} {engine.path}",
            rule="kv-downgrade",
            fix='write options: {version: "2"}.',
        )
    if not engine.upgrade_kv:
        raise Refused(
            "is of version 1. The upgrade changes the paths of all OpenBao secrets in it (kv/data/...), cannot be "
            "undone, and blocks it for a while.",
            item=f"{KIND} {engine.path}",
            rule="kv-upgrade",
            fix="set upgrade_kv: true for this engine when its readers are ready.",
        )


def _prune(result: Plan, present: Present, wanted: t.Sequence[Engine], percent: int, allow_data_loss: bool) -> None:
    listed = {e.path for e in wanted}
    owned = {
        path
        for path, entry in present.mounts.items()
        if split(entry.get("description")).marked
        and str(entry.get("type")) not in KEPT_TYPES
        and path.split("/")[0] not in RESERVED
    }
    doomed = sorted(owned - listed)
    check_prune(item="engines", doomed=doomed, desired=len(wanted), owned=len(owned), max_percent=percent)
    if doomed and not allow_data_loss:
        raise Refused(
            f"pruning would delete these secret engines and everything in them, for good: {', '.join(doomed)}.",
            item="engines",
            rule="data-loss",
            fix="take a snapshot, then set allow_data_loss: true for this run; or put them back into the list.",
            data={"would_delete": doomed},
        )
    for path in doomed:
        entry = present.mounts[path]
        result.add(
            Change(
                KIND,
                path,
                "delete",
                before={"type": entry.get("type"), "description": entry.get("description")},
                why="ours, and not in the list; everything in it is lost",
                public=_PUBLIC,
                payload=(Send("DELETE", f"sys/mounts/{path}"),),
            )
        )
