# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""One cluster: what differs, in an order that survives an interruption.

First the downstream objects, then mount, OpenBao policies and roles, then the token with the configuration. Deletions
come last and are carried out after the verification, so that the old token works until the new one has.
"""

from __future__ import annotations

import typing as t

from .._core.errors import Refused
from .._core.plan import Action, Change, Plan
from .._core.prune import check_prune
from .._openbao import hcl
from .._openbao.fields import body, differing, public, server_fields
from . import access, downstream, migrate, older_modes
from .claims import rfc3339
from .evidence import BoundSecret
from .model import OWNER, Cluster, Settings, check_audience
from .modes import Wiring
from .state import ADOPTING, HOLDS, State, description, is_ours
from .steps import Bao, KubeApply, KubeDelete, MakeMount, Rotate, Step, WriteConfig, WritePolicy

_OBJECT: t.Final = frozenset({"automountServiceAccountToken", "rules", "roleRef", "subjects", "name", "annotations"})
_TOKEN: t.Final = frozenset({"expires", "fingerprint", "ca", "api_server"})
#: Lifetimes of tokens of the mount itself; each role says its own.
_MOUNT: t.Final = frozenset({"type", "description"})


def plan(cluster: Cluster, settings: Settings, state: State, wiring: Wiring, *, now: float) -> Plan:
    """Return the steps for one cluster.

    :param now: seconds since 1970.
    :raises Refused: for what exists without our mark, rule ``foreign``, and ``mount-type``.
    :raises InvalidInput: when the audience is one of the API server's.
    """
    current = state.standing.current
    known = current.evidence.issuer if current and current.evidence else ""
    own = state.audiences or state.noted_audiences
    check_audience(cluster.audience, (state.issuer, known, *own), cluster.item)
    return _Planner(cluster, settings, state, wiring, now).plan()


class _Planner:
    def __init__(self, cluster: Cluster, settings: Settings, state: State, wiring: Wiring, now: float) -> None:
        self._cluster = cluster
        self._settings = settings
        self._state = state
        self._wiring = wiring
        self._now = now
        self._refused: list[str] = []
        self.result = Plan(warnings=[f"{cluster.name}: {text}" for text in wiring.warnings])
        self._last: list[Change] = []
        self._notes: list[Change] = []

    def plan(self) -> Plan:
        self._downstream()
        self._mount()
        self._policies()
        self._roles()
        self._config()
        self._leftovers()
        self._other_modes()
        if self._refused:
            known = self._state.recognised
            how = f" The auth mount works like mode {known.mode}: {known.why}" if known else ""
            raise Refused(
                f"these exist and are not marked as ours: {', '.join(self._refused)}.{how}",
                item=self._cluster.item,
                rule="foreign",
                fix="look at the difference (--check --diff, adopt: true), then set adopt: true; or take other names.",
                data={"foreign": sorted(self._refused)},
            )
        self.result.changes += self._last + self._notes
        return self.result

    def _add(
        self,
        kind: str,
        name: str,
        action: Action,
        *steps: Step,
        before: t.Mapping[str, t.Any] | None = None,
        after: t.Mapping[str, t.Any] | None = None,
        why: str = "",
        shown: frozenset[str] = frozenset(),
    ) -> None:
        change = Change(kind, f"{self._cluster.name}/{name}", action, before, after, why, shown, steps)
        (self._last if action == "delete" else self.result.changes).append(change)

    def _foreign(self, name: str) -> bool:
        """Note that something is not ours; say if it must be left alone."""
        title = f"{self._cluster.name}: {name}"
        self.result.foreign.append(title)
        if not self._settings.adopt:
            self._refused.append(title)
        return not self._settings.adopt

    # -- downstream ------------------------------------------------------------------------------------------------

    def _downstream(self) -> None:
        cluster, settings, state = self._cluster, self._settings, self._state
        if not state.namespace:
            made = downstream.namespace(cluster, settings)
            step = KubeApply(downstream.namespace_path(cluster), made)
            self._add("Namespace", cluster.namespace, "create", step, after={"name": cluster.namespace}, shown=_OBJECT)
        names = [cluster.canary_service_account]
        if self._wiring.reviewer or self._wiring.fetch_token:
            names.insert(0, cluster.service_account)
        for name in names:
            self._object(
                f"{cluster.namespace}/{name}",
                downstream.accounts_path(cluster, name),
                state.accounts.get(name),
                downstream.account(cluster, settings, name),
            )
        for path, there, wanted in self._wiring.objects:
            metadata = wanted["metadata"]
            name = "/".join(str(metadata[k]) for k in ("namespace", "name") if k in metadata)
            self._object(name, path, there, wanted)
        if not (self._wiring.reviewer or self._wiring.fetch_token):
            return
        role = downstream.cluster_role(cluster, settings)
        self._object(cluster.cluster_role, downstream.role_path(cluster), state.cluster_role, role)
        self._object(
            cluster.cluster_role,
            downstream.binding_path(cluster),
            state.binding,
            downstream.binding(cluster, settings),
        )

    def _object(self, name: str, path: str, there: t.Mapping[str, t.Any] | None, wanted: downstream.Object) -> None:
        kind = str(wanted["kind"])
        before, after = downstream.fields(there), downstream.fields(wanted)
        if there is None:
            self._add(kind, name, "create", KubeApply(path, wanted), after=after, shown=_OBJECT)
            return
        ours = downstream.ours(there, self._settings)
        if not ours and self._foreign(f"{kind} {name}"):
            return
        if ours and before == after:
            self.result.unchanged += 1
            return
        steps: list[Step] = [KubeApply(path, wanted)]
        if before is not None and before.get("roleRef") != wanted.get("roleRef"):  # it cannot be changed
            steps.insert(0, KubeDelete(path, str((there.get("metadata") or {}).get("uid") or "")))
        changed = [k for k in {**(before or {}), **(after or {})} if (before or {}).get(k) != (after or {}).get(k)]
        why = f"{', '.join(sorted(changed)) or 'the mark'} differs"
        self._add(kind, name, "update" if ours else "adopt", *steps, before=before, after=after, why=why, shown=_OBJECT)

    # -- OpenBao ---------------------------------------------------------------------------------------------------

    def _mount(self) -> None:
        cluster, mount = self._cluster, self._state.mount
        final = {"type": self._wiring.mount_type, "description": description(cluster.name, cluster.mode)}
        # the mode is written down when all that an earlier one left is gone
        mode = ADOPTING if self._state.recognised else self._state.previous or cluster.mode
        wanted = {**final, "description": description(cluster.name, mode)}
        if mount is None:
            self._add("auth mount", cluster.mount, "create", MakeMount(wanted), after=wanted, shown=_MOUNT)
            if wanted != final:
                self._notes.append(migrate.noted(cluster, wanted))
            return
        before = {"type": mount.get("type"), "description": mount.get("description")}
        ours = is_ours(mount)
        if not ours and self._foreign(f"auth mount {cluster.mount}"):
            return
        if ours and before == final:
            self.result.unchanged += 1
            return
        if not ours:
            step = Bao("POST", f"sys/auth/{cluster.mount}/tune", {"description": wanted["description"]})
            why = "the mark differs"
            self._add("auth mount", cluster.mount, "adopt", step, before=before, after=wanted, why=why, shown=_MOUNT)
            if wanted == final:
                return
        self._notes.append(migrate.noted(cluster, before))

    def _policies(self) -> None:
        accessor = self._state.accessor or access.NEW_ACCESSOR
        texts = access.policies(self._cluster, self._settings, (accessor,), self._state.retired)
        for name, text in texts.items():
            after, shown = {"policy": text}, frozenset({"policy"})
            there = self._state.policies.get(name)
            if there is None:
                self._add("OpenBao policy", name, "create", WritePolicy(name), after=after, shown=shown)
                continue
            there = hcl.normalised(there)
            ours = access.owner(there) == OWNER
            if not ours and self._foreign(f"OpenBao policy {name}"):
                continue
            if there == text:
                self.result.unchanged += 1
                continue
            why = "text differs"
            if access.accessors_in(there) != access.accessors_in(text):
                why = "the mount has another accessor"
            action: Action = "update" if ours else "adopt"
            step = WritePolicy(name)
            self._add("OpenBao policy", name, action, step, before={"policy": there}, after=after, why=why, shown=shown)

    def _roles(self) -> None:
        cluster, table = self._cluster, self._wiring.role_table
        wanted = access.bindings(cluster)
        for binding in wanted:
            want = self._wiring.role(binding)
            path = f"auth/{cluster.mount}/role/{binding.role}"
            name = f"{cluster.mount}/{binding.role}"
            answer = self._state.roles.get(binding.role)
            if answer is None:
                step = Bao("POST", path, body(want, table))
                self._add("role", name, "create", step, after=want, shown=public(table))
                continue
            # a role without an audience is shown without the field
            have = {**({"audience": ""} if "audience" in table else {}), **server_fields(answer, table)}
            changed = differing(have, want, table, item=f"role {name}")
            if not changed:
                self.result.unchanged += 1
                continue
            # complete: what is left out is kept in some fields and reset in others
            step = Bao("POST", path, body(want, table, have=have))
            why = f"{', '.join(changed)} differs"
            self._add("role", name, "update", step, before=have, after=want, why=why, shown=public(table))
        self._extra_roles({b.role for b in wanted})

    def _extra_roles(self, wanted: set[str]) -> None:
        cluster, names = self._cluster, self._state.role_names
        if names is None:
            return
        ours = [n for n in names if access.is_ours(cluster, n)]
        others = sorted(set(names) - set(ours))
        self.result.foreign += [f"{cluster.name}: role {cluster.mount}/{name}" for name in others]
        doomed = sorted(set(ours) - wanted)
        if not self._settings.prune:
            self.result.warnings += [
                f"{cluster.name}: role {cluster.mount}/{name} is not wanted any more and still works; prune ends it."
                for name in doomed
            ]
            return
        check_prune(
            item=f"{cluster.item}.access (roles of {cluster.mount})",
            doomed=doomed,
            desired=len(wanted),
            owned=len(ours),
            max_percent=self._settings.prune_max_percent,
        )
        for name in doomed:
            step = Bao("DELETE", f"auth/{cluster.mount}/role/{name}")
            self._add(
                "role", f"{cluster.mount}/{name}", "delete", step, before={"role": name}, why="not wanted any more"
            )

    # -- token and configuration -----------------------------------------------------------------------------------

    def _config_differs(self) -> list[str]:
        answer, table = self._state.config, self._wiring.config_table
        if answer is None:
            return ["configuration"]
        have = server_fields(answer, table)
        names = differing(have, self._wiring.config, table, item=f"auth mount {self._cluster.mount}")
        holds = self._wiring.reviewer or self._wiring.fetch_token is not None
        if HOLDS in answer and bool(answer[HOLDS]) != holds:
            names.append(HOLDS)
        if self._state.previous not in ("", self._cluster.mode) or self._state.recognised:
            names.append("mode")  # older servers do not tell whose token they hold
        if self._wiring.fetch_token and any(there is None for _path, there, _wanted in self._wiring.objects):
            names.append("token")
        return names

    def _config(self) -> None:
        changed = self._config_differs()
        why_token = self._why_rotate(changed) if self._wiring.reviewer else ""
        name, table = self._cluster.mount, self._wiring.config_table
        answer = self._state.config
        before = None if answer is None else server_fields(answer, table)
        lost = bool(self._wiring.fetch_token) and self._state.probed is False
        if changed or lost:
            steps: tuple[Step, ...] = () if self._wiring.reviewer else (WriteConfig(),)
            self._add(
                "auth mount configuration",
                name,
                "create" if answer is None else "update",
                *steps,
                before=before,
                after=self._wiring.config,
                why=""
                if answer is None
                else f"{', '.join(changed)} differs"
                if changed
                else "a login of the canary failed",
                shown=public(table),
            )
        else:
            self.result.unchanged += 1
        if not self._wiring.reviewer:
            return
        if why_token:
            self._rotate(why_token)
        else:
            self.result.unchanged += 1

    def _why_rotate(self, changed: list[str]) -> str:
        """Return why a new token is needed, ``""`` if none is."""
        standing, cluster = self._state.standing, self._cluster
        if standing.current is None or standing.current.evidence is None:
            return standing.why
        evidence = standing.current.evidence
        account = (self._state.accounts.get(cluster.service_account) or {}).get("metadata") or {}
        if self._state.mount is None:
            return "the mount is new"
        if str(account.get("uid") or "") != evidence.account_uid:
            return "the ServiceAccount was made anew, which revoked the token"
        if changed:
            return f"{', '.join(changed)} differs, and a configuration is written with a token only"
        if evidence.ca != cluster.ca_fingerprint or evidence.api_server != cluster.api_server:
            return "the evidence is of another CA or address"
        if evidence.ageing(self._now, self._settings.renew_below):
            left = evidence.seconds_left(self._now)
            return "it has expired" if left <= 0 else f"{left} of {evidence.lifetime} s are left"
        if self._state.probed is False:
            return "a login of the canary failed"
        return ""

    def _rotate(self, why: str) -> None:
        standing, cluster = self._state.standing, self._cluster
        newest = standing.current or next(iter(standing.leftovers), None)
        before = None
        if newest is not None and newest.evidence is not None:
            before = {
                "expires": rfc3339(newest.evidence.expires),
                "fingerprint": newest.evidence.fingerprint,
                "ca": newest.evidence.ca,
                "api_server": newest.evidence.api_server,
            }
        after = {
            "expires": "(new)",
            "fingerprint": "(new)",
            "ca": cluster.ca_fingerprint,
            "api_server": cluster.api_server,
        }
        self._add(
            "reviewer token",
            f"{cluster.namespace}/{cluster.service_account}",
            "create" if before is None else "update",
            Rotate(),
            before=before,
            after=after,
            why=why,
            shown=_TOKEN,
        )
        for secret in self._state.secrets:
            self._drop(secret, "its token is replaced" if secret is standing.current else "left by an earlier run")

    def _drop(self, secret: BoundSecret, why: str) -> None:
        cluster = self._cluster
        step = KubeDelete(downstream.secrets_path(cluster, secret.name), secret.uid)
        self._add(
            "bound Secret",
            f"{cluster.namespace}/{secret.name}",
            "delete",
            step,
            before={"state": secret.state},
            why=why,
        )

    def _leftovers(self) -> None:
        if any(c.kind == "reviewer token" for c in self.result.changes):
            return  # they go with the rotation
        doomed = self._state.standing.leftovers if self._wiring.reviewer else self._state.secrets
        for secret in doomed:
            self._drop(secret, "left by an earlier run" if self._wiring.reviewer else "the mode needs no token")

    def _other_modes(self) -> None:
        """Plan the end of what another mode needed, ours or, with adopt, somebody else's."""
        cluster, known = self._cluster, self._state.recognised
        self._last += older_modes.of_ours(cluster, self._settings, self._state, self._wiring)
        if known is None:
            return
        self.result.warnings.append(f"{cluster.name}: the auth mount works like mode {known.mode}: {known.why}")
        if self._settings.adopt and cluster.mode in ("token_request", "jwt_pubkeys"):
            self._last += older_modes.of_others(cluster, self._settings, known)
            left = older_modes.left_alone(cluster, self._settings, known)
            if left:
                self.result.warnings.append(
                    f"{cluster.name}: never-expiring tokens of reviewers, perhaps this mount's: {', '.join(left)};"
                    " none is deleted. Delete the one that OpenBao used before, if nothing else uses it."
                )
