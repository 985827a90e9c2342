# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Carries out the plan of one cluster: what adds before the verification, what takes away after it.

A new token is written down on its Secret (state ``minted``) before it is written to OpenBao, and as ``current`` once a
login has proved it; only then are old Secrets deleted, which revokes their tokens. Killed anywhere in between, the next
run can tell what OpenBao may hold.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t
from collections.abc import Mapping

from .._core.errors import HackspaceError
from .._core.plan import Change, Plan
from .._core.redact import Secret, fingerprint
from .._openbao.ports import Upstream
from . import access, claims, downstream
from .evidence import Evidence, manifest, patch, secret_name
from .model import Cluster, Settings, check_audience
from .modes import Wiring
from .ports import Downstream, data
from .state import State
from .steps import Bao, KubeApply, KubeDelete, MakeMount, NoteMode, Rotate, Swap, WriteConfig, WritePolicy

_MERGE: t.Final = "application/merge-patch+json"
#: Seconds. A move takes some ten milliseconds, more where many tokens of the mount have to be revoked.
_MOVE_PATIENCE: t.Final = 60.0
_MOVE_PAUSE: t.Final = 0.01
#: Names of Secrets that are tried, where Secrets of somebody else have them.
_TRIES: t.Final = 10
_METADATA: t.Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def refused(error: HackspaceError) -> bool:
    """Say if a server certainly did not do what it was asked. Of others nobody knows: 5xx, no answer, and what proxies
    say when they do not wait any longer (408, 499).
    """
    return error.status is not None and 400 <= error.status < 500 and error.status not in (408, 499)


def _is(change: Change, *kinds: type) -> bool:
    return any(isinstance(step, kinds) for step in change.payload or ())


class Applier:
    """One cluster on its way from *state* to what its plan says.

    :ivar accessor: of the mount, once there is one.
    :ivar evidence: of the token that this run minted, and ``secret`` the name of the Secret it is bound to.
    :ivar done: changes carried out.
    """

    def __init__(
        self,
        bao: Upstream,
        kube: Downstream,
        cluster: Cluster,
        *,
        settings: Settings,
        state: State,
        wiring: Wiring,
    ) -> None:
        self._bao = bao
        self._kube = kube
        self._cluster = cluster
        self._settings = settings
        self._state = state
        self._wiring = wiring
        self.secret = ""
        self.accessor = state.accessor
        self.evidence: Evidence | None = None
        self.done: list[Change] = []

    def add(self, plan: Plan) -> None:
        """Carry out all but what comes after the verification, in order."""
        self._run([c for c in plan.changes if c.action != "delete" and not _is(c, Swap, NoteMode)])

    def finish(self, plan: Plan, moved: t.Callable[[], None]) -> None:
        """After the verification: the new token is the current one, mounts change places, and what is old goes.

        :param moved: called after mounts have changed places; raises if that did not work.
        """
        if self.evidence is not None:
            self.evidence = dataclasses.replace(self.evidence, state="current")
            self._write_evidence()
        swaps = [c for c in plan.changes if _is(c, Swap)]
        self._run(swaps)
        if swaps:
            moved()
        self._run([c for c in plan.changes if c.action == "delete"])
        self._run([c for c in plan.changes if _is(c, NoteMode)])

    def _run(self, changes: t.Sequence[Change]) -> None:
        for change in changes:
            try:
                for step in change.payload or ():
                    self._step(step)
            except HackspaceError as error:
                error.item = f"{self._cluster.item}, {change.kind} {change.name}"
                raise
            self.done.append(change)

    def _step(self, step: object) -> None:
        if isinstance(step, KubeApply):
            self._kube.apply(step.path, step.body, force=True)
        elif isinstance(step, KubeDelete):
            self._kube.delete(step.path, uid=step.uid)
        elif isinstance(step, Bao):
            ok = (200, 204, 404) if step.method == "DELETE" else (200, 204)
            self._bao.request(step.method, step.path, None if step.method == "DELETE" else step.body, ok=ok)
        elif isinstance(step, MakeMount):
            self._bao.request("POST", f"sys/auth/{self._cluster.mount}", step.body)
            mounts = data(self._bao, "sys/auth") or {}
            self.accessor = str((mounts.get(f"{self._cluster.mount}/") or {}).get("accessor") or "")
        elif isinstance(step, WritePolicy):
            texts = access.policies(self._cluster, self._settings, (self.accessor,), self._state.retired)
            text = texts[step.name]
            self._bao.request("POST", f"sys/policies/acl/{step.name}", {"policy": text})
        elif isinstance(step, WriteConfig):
            token = self._wiring.fetch_token(self._kube) if self._wiring.fetch_token else None
            self._write_config(token)
        elif isinstance(step, Rotate):
            self._rotate()
        elif isinstance(step, Swap):
            self._swap(step)
        elif isinstance(step, NoteMode):
            self._bao.request("POST", step.path, step.body)
        else:
            raise TypeError(f"no step: {type(step).__name__}")

    # -- mounts that change places ---------------------------------------------------------------------------------

    def _swap(self, step: Swap) -> None:
        """Let mounts change places; if one of several moves fails, the others are taken back."""
        done: list[tuple[str, str]] = []
        try:
            for old, new in step.moves:
                self._move(old, new)
                done.append((old, new))
        except HackspaceError:
            for old, new in reversed(done):
                with contextlib.suppress(HackspaceError):
                    self._move(new, old)
            raise

    def _move(self, source: str, target: str) -> None:
        """Change the path of an auth mount. The server does it in the background."""
        answer = self._bao.request("POST", "sys/remount", {"from": f"auth/{source}", "to": f"auth/{target}"}, ok=(200,))
        number = str((answer.body.get("data") or {}).get("migration_id") or "")
        end = time.monotonic() + _MOVE_PATIENCE
        while True:
            status = self._move_status(number, target)
            if status == "success":
                return
            if status != "in-progress" or time.monotonic() >= end:
                raise HackspaceError(
                    f"OpenBao did not move the auth mount {source} to {target} ({status or 'no word of it'}).",
                    rule="mount-move",
                    fix="see the server's log, and run again: the next run leads on from what is there.",
                )
            time.sleep(_MOVE_PAUSE)

    def _move_status(self, number: str, new: str) -> str:
        """Return how far a move is; by the list of mounts where the login may not read it."""
        answer = self._bao.request("GET", f"sys/remount/status/{number}", ok=(200, 403, 404))
        if answer.status != 403:
            return str(((answer.body.get("data") or {}).get("migration_info") or {}).get("status") or "")
        return "success" if f"{new}/" in (data(self._bao, "sys/auth") or {}) else "in-progress"

    # -- the token -------------------------------------------------------------------------------------------------

    def _write_config(self, token: Secret | None) -> None:
        """Replace the configuration as a whole. The server's words are not quoted, as they could quote the token."""
        body = dict(self._wiring.config)
        if token is not None:
            body["token_reviewer_jwt"] = token.reveal()
        self._bao.request("POST", f"auth/{self._cluster.mount}/config", body, quiet=True)

    def _rotate(self) -> None:
        cluster, state = self._cluster, self._state
        if state.config is None or any(old.state != "made" for old in state.secrets):
            # runs that were killed before they could write a token left these; OpenBao has another one, or none
            for old in state.secrets:
                if old.state == "made":
                    self._kube.delete(downstream.secrets_path(cluster, old.name), uid=old.uid)
        metadata = self._make_secret().get("metadata") or {}
        self.secret, uid = str(metadata.get("name") or ""), str(metadata.get("uid") or "")
        try:
            token, self.evidence = self._mint(uid)
            self._write_evidence()
        except BaseException:
            self._discard(uid)  # nothing was written to OpenBao yet: nobody needs it
            raise
        try:
            self._write_config(token)
        except HackspaceError as error:
            if refused(error):
                self._discard(uid)
            raise
        for old in state.secrets:
            # OpenBao has another token by now, and no login has ever proved these
            if old.state != "current":
                self._kube.delete(downstream.secrets_path(cluster, old.name), uid=old.uid)

    def _make_secret(self) -> Mapping[str, t.Any]:
        """Make the Secret for the next token, with the next number whose name nobody else has taken."""
        cluster, serial = self._cluster, self._state.standing.next_serial
        for number in range(serial, serial + _TRIES):
            body = manifest(cluster, self._settings, number)
            try:
                return self._kube.create(downstream.secrets_path(cluster), body)
            except HackspaceError as error:
                if error.status != 409:
                    raise
            path = downstream.secrets_path(cluster, secret_name(cluster, number))
            _status, there = self._kube.request("GET", path, accept=_METADATA, ok=(200, 404))
            labels = (there.get("metadata") or {}).get("labels") or {}
            if labels.get(self._settings.reviewer_label) == cluster.name:
                raise HackspaceError(
                    f"the Secret {secret_name(cluster, number)} was made a moment ago.",
                    item=cluster.item,
                    rule="another-run",
                    fix="another run is at work on this cluster; run again when it has ended.",
                )
        raise HackspaceError(
            f"the names {secret_name(cluster, serial)} to {secret_name(cluster, serial + _TRIES - 1)} are taken by"
            " Secrets of somebody else.",
            item=cluster.item,
            rule="names-taken",
            fix="delete or rename these Secrets, or take another service_account or namespace for the reviewer.",
        )

    def _discard(self, uid: str) -> None:
        """Delete the Secret of the new token, which revokes it: OpenBao does not hold it."""
        with contextlib.suppress(HackspaceError):
            self._kube.delete(downstream.secrets_path(self._cluster, self.secret), uid=uid)
        self.secret, self.evidence = "", None

    def _mint(self, uid: str) -> tuple[Secret, Evidence]:
        cluster = self._cluster
        bound = {"apiVersion": "v1", "kind": "Secret", "name": self.secret, "uid": uid}
        status = self._kube.mint(
            cluster.namespace,
            cluster.service_account,
            {"expirationSeconds": cluster.token_lifetime, "boundObjectRef": bound},
        )
        token = Secret(str(status.get("token") or ""))
        found = claims.decode(token, "the reviewer's token")
        # without audiences in the request, the token has all those of the API server
        check_audience(cluster.audience, (found.issuer, *found.audiences), cluster.item)
        expires = claims.epoch(str(status.get("expirationTimestamp") or "")) or found.expires_at
        if expires is None or found.issued_at is None:
            raise HackspaceError(
                "the API server gave a token that does not say when it expires.",
                item=cluster.item,
                rule="token-expiry",
                fix="use Kubernetes 1.24 or newer.",
            )
        return token, Evidence(
            state="minted",
            issued=found.issued_at,
            expires=expires,
            fingerprint=fingerprint(token.reveal()),
            ca=cluster.ca_fingerprint,
            api_server=cluster.api_server,
            issuer=found.issuer,
            account_uid=found.service_account_uid,
            secret_uid=uid,
            audiences=found.audiences,
        )

    def _write_evidence(self) -> None:
        if self.evidence is None:
            return
        path = downstream.secrets_path(self._cluster, self.secret)
        self._kube.request("PATCH", path, body=patch(self.evidence, self._settings), content_type=_MERGE)
