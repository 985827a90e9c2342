# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Makes new shares. The order of the steps keeps at least one generation of shares usable, wherever a run is cut off:

the record says what is about to happen before it does; new shares are in their files, read back, before the first one
is verified; the old files and their record are copied into the folder of their generation before new ones replace them.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import secrets
import shutil
import typing as t

from .._core import private_files
from .._core.encrypt import armor_message, try_out
from .._core.errors import HackspaceError, InvalidInput
from .._core.redact import Secret, fingerprint
from . import share_record
from .init_apply import undisturbed
from .init_model import Holder
from .ports import Api, Reply
from .root_plan import inner
from .rotation_model import Endpoints, Server, Wanted, endpoints, wrong_fingerprint
from .rotation_plan import Decision
from .share_record import Entry, Record, Rotation
from .shares import Share
from .versions import Version

_ANY: t.Final = range(200, 600)

#: Seconds for the answer that has the new shares in it.
SLOW: t.Final = 120.0

_TWICE: t.Final = "already been provided"


# -- reading -----------------------------------------------------------------------------------------------------------


def read_server(api: Api, status: t.Mapping[str, t.Any], version: Version) -> Server:
    """Return the server's attempt. Only reads.

    :raises HackspaceError: sealed, or the endpoints are not for us.
    """
    if not status.get("initialized") or status.get("sealed", True):
        word = "sealed" if status.get("initialized") else "not initialised"
        raise HackspaceError(
            f"is {word}; new shares are made by unsealed nodes.",
            item="url",
            rule="not-unsealed",
            fix="run playbooks/unseal.yml first, or address an unsealed node.",
        )
    recovery = bool(status.get("recovery_seal"))
    ends = endpoints(version, recovery_seal=recovery)
    answer = api.request("GET", ends.init, ok=(200, 400, 403, 404, 405), token=ends.needs_login)
    if answer.status != 200:
        raise _not_allowed(ends, version, answer.status)
    fields = inner(answer.body)
    server = Server(
        version=version,
        ends=ends,
        recovery_seal=recovery,
        shares=int(status.get("n") or 0),
        threshold=int(status.get("t") or 0),
        started=bool(fields.get("started")),
        nonce=str(fields.get("nonce") or ""),
        progress=int(fields.get("progress") or 0),
        required=int(fields.get("required") or 0),
        verification_nonce=str(fields.get("verification_nonce") or ""),
        cluster={k: str(status.get(k) or "") for k in ("cluster_name", "cluster_id")},
    )
    if server.verification_nonce:
        shown = inner(api.request("GET", ends.verify, token=ends.needs_login).body)
        server = dataclasses.replace(
            server,
            verification_nonce=str(shown.get("nonce") or server.verification_nonce),
            verified=int(shown.get("progress") or 0),
        )
    return server


def _not_allowed(ends: Endpoints, version: Version, status: int) -> HackspaceError:
    if ends.needs_login:
        return HackspaceError(
            f"the login in use may not make new shares (HTTP {status}).",
            item=ends.init,
            rule="rotation-rights",
            fix=f"its OpenBao policy needs create, read, update, delete and sudo on {ends.base}/*.",
            status=status,
        )
    return HackspaceError(
        f"{version.title} does not answer on {ends.init} (HTTP {status}).",
        item=ends.init,
        rule="rotation-off",
        fix="address an unsealed node; look for disable_unauthed_rekey_endpoints in its listener.",
        status=status,
    )


def preflight(wanted: Wanted, record: Record | None, decision: Decision) -> None:
    """Try everything that can fail before anything is sent, without writing.

    :raises HackspaceError: what would fail.
    """
    private_files.check_private_folder(wanted.output_dir, item="output_dir", files=3 * len(wanted.holders) + 3)
    if decision.begin:
        for holder in wanted.holders:
            try_out(holder.recipient)
    ours = {e.file for e in record.holders} if record else set()
    for holder in wanted.holders:
        path = os.path.join(wanted.output_dir, holder.file_name)
        pending = record.rotation if record else None
        finishing = decision.phase == "finish" and pending and pending.entry(holder.name)
        if holder.file_name not in ours and os.path.lexists(path) and not finishing:
            raise InvalidInput(
                f"{path} exists and is not in the record; it is never overwritten.",
                item="output_dir",
                rule="share-file-exists",
                fix="move it away, or make the record first (openbao_shares_do=adopt).",
            )


# -- the run -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Rotator:
    """One run.

    :ivar hide: makes values unprintable for the rest of the run.
    """

    api: Api
    wanted: Wanted
    server: Server
    record: Record | None
    hide: t.Callable[..., None] = lambda *_values: None
    clock: t.Callable[[], str] = share_record.now
    encrypted: dict[str, str] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    missing: int = 0
    finished: bool = False

    @property
    def folder(self) -> str:
        return self.wanted.output_dir

    @property
    def _pending(self) -> Rotation:
        if self.record is None or self.record.rotation is None:
            raise TypeError("called without a rotation under way")
        return self.record.rotation

    def run(self, decision: Decision, given: t.Sequence[Share]) -> None:
        """Do what was decided with the shares *given*.

        :raises HackspaceError: what failed; its data says what was achieved.
        """
        self.missing = decision.needed
        try:
            self._run(decision, given)
        except HackspaceError as error:
            if self.encrypted:
                error.data = {"encrypted_shares": dict(self.encrypted), **error.data}
            raise
        except OSError as error:
            raise HackspaceError(
                f"cannot write ({error.strerror}). Run again once that is mended; the record says how far it came.",
                item="output_dir",
                rule="file-write",
                fix="make room in the folder, check its rights.",
                data={"encrypted_shares": dict(self.encrypted)},
            ) from None

    def _run(self, decision: Decision, given: t.Sequence[Share]) -> None:
        if decision.phase == "finish":
            self._finish()
            return
        self._check_marks(decision, given)
        if decision.cancel:
            self._request("DELETE", self.server.ends.init)
        if decision.drop and not decision.begin:
            self._forget()
        if decision.phase == "none":
            return
        if decision.begin:
            body = self._begin(proof=decision.phase == "prove")
            if body.get("keys") or body.get("keys_base64"):  # recovery shares where there were none
                self._received(body)
                return
        if decision.phase == "verify":
            self._verify(decision, given)
        else:
            self._collect(decision, given, proof=decision.phase == "prove")

    def _check_marks(self, decision: Decision, given: t.Sequence[Share]) -> None:
        """Refuse shares that the record knows to be others, before they cost other people theirs."""
        records = [r for r in (self.record, *share_record.older(self.folder)) if r]
        group: Record | Rotation | None = self.record
        if decision.phase in ("verify", "prove"):
            group = self._pending
        for share in given:
            entry = group.entry(share.holder) if group else None
            mark = fingerprint(share.raw)
            if group and entry and entry.fingerprint and entry.fingerprint != mark:
                raise wrong_fingerprint(share.holder, mark, records, wanted=group.generation)

    # -- requests ------------------------------------------------------------------------------------------------------

    def _request(
        self, method: str, path: str, body: t.Mapping[str, t.Any] | None = None, *, slow: bool = False
    ) -> Reply:
        """Send one request below the endpoints; the server's words are left out of errors, as they could quote."""
        base = self.server.ends.base
        if not path.startswith(f"{base}/"):
            raise TypeError("sys/rotate/root itself is never requested: it changes the key behind the shares")
        return self.api.request(
            method,
            path,
            body,
            ok=(200, 204) if method == "DELETE" else _ANY,
            token=self.server.ends.needs_login,
            timeout=SLOW if slow else None,
            quiet=True,
        )

    def _look(self) -> Server:
        """Ask how far the attempt is now."""
        token = self.server.ends.needs_login
        fields = inner(self.api.request("GET", self.server.ends.init, token=token).body)
        nonce = str(fields.get("verification_nonce") or "")
        verified = 0
        if nonce:
            shown = inner(self.api.request("GET", self.server.ends.verify, token=token).body)
            nonce, verified = str(shown.get("nonce") or nonce), int(shown.get("progress") or 0)
        return dataclasses.replace(
            self.server,
            started=bool(fields.get("started")),
            nonce=str(fields.get("nonce") or ""),
            progress=int(fields.get("progress") or 0),
            verification_nonce=nonce,
            verified=verified,
        )

    # -- the record ----------------------------------------------------------------------------------------------------

    def _keep(self, rotation: Rotation | None) -> None:
        """Write the record with *rotation* under way."""
        record = self.record or Record(
            state="unknown",
            generation="",
            made_at="",
            kind=self.server.kind,
            threshold=self.server.threshold,
            holders=(),
            shares=self.server.shares,
            cluster=self.server.cluster,
        )
        self.record = dataclasses.replace(record, rotation=rotation)
        share_record.write(self.folder, self.record)

    def _keep_changed(self, **changes: t.Any) -> None:
        self._keep(dataclasses.replace(self._pending, **changes))

    def _forget(self) -> None:
        """Take the rotation out of the record; share files that were handed out stay in their folder."""
        pending = self.record.rotation if self.record else None
        if pending is None:
            return
        place = share_record.generation_folder(self.folder, pending.generation)
        if os.path.isdir(place) and not os.path.exists(share_record.path_of(place)):
            shutil.rmtree(place)  # cut off while it was written: nobody ever got these
        if self.record is not None and self.record.state == "unknown":
            self.record = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(share_record.path_of(self.folder))
            return
        self._keep(None)

    # -- begin and collect ---------------------------------------------------------------------------------------------

    def _begin(self, *, proof: bool) -> dict[str, t.Any]:
        if proof:
            body: dict[str, t.Any] = {
                "secret_shares": len(self._pending.holders),
                "secret_threshold": self._pending.threshold,
                "require_verification": True,
            }
        else:
            self._forget()
            body = self.wanted.request()
            self._keep(
                Rotation(
                    state="beginning",
                    generation=secrets.token_hex(8),
                    begun_at=self.clock(),
                    threshold=self.wanted.threshold,
                    holders=self.wanted.entries(),
                    encrypted_on="server" if self.wanted.on_server else "controller",
                )
            )
        answer = self._request("PUT", self.server.ends.init, body)
        fields = inner(answer.body)
        nonce = str(fields.get("nonce") or "")
        if answer.status != 200 or not (nonce or fields.get("keys")):
            if not proof:
                self._forget()
            raise HackspaceError(
                f"the server did not begin an attempt (HTTP {answer.status}). Nothing was changed.",
                item=self.server.ends.init,
                rule="attempt-refused",
                fix="look into its log; with PGP keys, check that each can encrypt.",
                status=answer.status,
            )
        if nonce and not fields.get("verification_required") and not fields.get("keys"):
            with contextlib.suppress(HackspaceError):
                self._request("DELETE", self.server.ends.init)
            if not proof:
                self._forget()
            raise HackspaceError(
                "the server would not wait for the new shares to be verified; the attempt is cancelled.",
                item=self.server.ends.init,
                rule="no-verification",
                fix="report it with the server's version.",
            )
        self.server = dataclasses.replace(
            self.server,
            started=True,
            nonce=nonce,
            progress=int(fields.get("progress") or 0),
            required=int(fields.get("required") or self.server.required),
            verification_nonce="",
            verified=0,
        )
        self.missing = self.server.required
        if proof:
            self._keep_changed(proof_nonce=nonce)
        elif nonce:
            self._keep_changed(state="collecting", nonce=nonce)
        return fields

    def _collect(self, decision: Decision, given: t.Sequence[Share], *, proof: bool) -> None:
        """Send old shares (new ones for a proof) until they are enough or none is left."""
        counted = list(() if decision.begin else decision.given)
        todo = [s for s in given if s.holder not in counted]
        for share in todo:
            self.missing = max(self.server.required - self.server.progress, 0)
            if not self.missing:
                break
            last = self.missing == 1
            with undisturbed() if last else contextlib.nullcontext():
                body = self._send_old(share, counted, last=last)
                if body.get("disproved"):
                    self._disproved()
                    return
                counted.append(share.holder)
                if not body.get("complete"):
                    self.server = dataclasses.replace(
                        self.server, progress=int(body.get("progress") or self.server.progress)
                    )
                    if not proof:
                        self._keep_changed(given=tuple(counted))
                    self.missing = max(self.server.required - self.server.progress, 0)
                    continue
                self.missing = 0
                if proof:
                    self._proved()
                else:
                    self._received(body)
                return

    def _send_old(self, share: Share, counted: t.Sequence[str], *, last: bool) -> dict[str, t.Any]:
        ends, nonce = self.server.ends, self.server.nonce
        try:
            answer = self._request("PUT", ends.update, {"key": share.key.reveal(), "nonce": nonce}, slow=last)
        except HackspaceError:
            now = self._look()
            if (
                now.started
                and now.nonce == nonce
                and not now.verification_nonce
                and now.progress > self.server.progress
            ):
                return {"progress": now.progress}
            raise
        if answer.status == 200:
            return inner(answer.body)
        now = self._look()
        if not now.started or now.nonce != nonce:
            raise HackspaceError(
                f"somebody cancelled the attempt, or OpenBao restarted, while the share of {share.holder} was sent. "
                "The present shares are valid.",
                item=ends.update,
                rule="nonce-changed",
                fix="agree who makes new shares, then run again.",
                status=answer.status,
            )
        if now.progress and _TWICE in str(answer.body.get("errors")):
            return {"progress": now.progress}
        if now.progress == 0 and last and self._pending.state == "verifying":
            return {"disproved": True}
        if now.progress == 0 and last:
            if self._pending.state == "collecting":
                self._keep_changed(given=())
            who = [*counted, share.holder]
            others = self.server.progress - len(counted)
            raise HackspaceError(
                f"at least one share of {', '.join(who)}{' (and others)' if others > 0 else ''} is not in force. "
                "The server cannot say which and has dropped all of them; the attempt goes on.",
                item="current_holders",
                rule="wrong-share",
                fix="check each with openbao_shares_do=verify, then all of these holders give their shares again.",
                status=answer.status,
                data={"suspects": who},
            )
        raise HackspaceError(
            f"the server refused the share of {share.holder} (HTTP {answer.status}).",
            item=f"unseal share of {share.holder}",
            rule="share-refused",
            fix="check it with openbao_shares_do=verify.",
            status=answer.status,
        )

    # -- the new shares ------------------------------------------------------------------------------------------------

    def _received(self, body: t.Mapping[str, t.Any]) -> None:
        """Write the new shares to their files; verify them at once if they are in memory."""
        order = [e.holder for e in self._pending.holders]  # in which the server was given the PGP keys
        holders = sorted(self.wanted.holders, key=lambda h: order.index(h.name))
        values = body.get("keys_base64" if self.wanted.on_server else "keys")
        if not isinstance(values, list) or len(values) != len(holders) or len(set(values)) != len(holders):
            self._cancel()
            raise HackspaceError(
                f"the answer does not hold {len(holders)} new shares. The attempt is cancelled, the present shares are "
                "valid.",
                item=self.server.ends.update,
                rule="rotation-answer",
                fix="run again; report it with the server's version.",
            )
        shares = [Secret(str(v)) for v in values]
        self.hide(*(v.reveal() for v in shares))
        marks = ["" if self.wanted.on_server else fingerprint(bytes.fromhex(v.reveal())) for v in shares]
        entries = tuple(
            dataclasses.replace(e, fingerprint=m) for e, m in zip(self._pending.holders, marks, strict=True)
        )
        self._hand_out(entries, holders, shares)
        self._keep_changed(state="handed-out", holders=entries)
        nonce = str(body.get("verification_nonce") or "")
        if not nonce:  # only where there were no shares before, so that none can be lost
            self._finish()
            return
        self.server = dataclasses.replace(self.server, verification_nonce=nonce, verified=0)
        if self.wanted.on_server:
            self.missing = self._pending.threshold
            return
        mine = [Share(h.name, Secret(v.reveal())) for h, v in zip(holders, shares, strict=True)]
        self._send_new(mine[: self._pending.threshold], ())
        if self._pending.state == "verified":
            self._finish()

    def _hand_out(self, entries: t.Sequence[Entry], holders: t.Sequence[Holder], shares: t.Sequence[Secret]) -> None:
        """Encrypt, write and read back every share, and the record of the generation beside them."""
        place = share_record.generation_folder(self.folder, self._pending.generation)
        try:
            os.makedirs(place, mode=0o700, exist_ok=True)
            os.chmod(os.path.dirname(place), 0o700)
            for entry, holder, value in zip(entries, holders, shares, strict=True):
                if self.wanted.on_server:
                    text = armor_message(base64.b64decode(value.reveal()))
                else:
                    text = holder.recipient.encrypt(value.reveal().encode("ascii"))
                self.encrypted[holder.name] = text
                path = os.path.join(place, entry.file)
                private_files.write_new(path, text.encode("ascii"))
                with open(path, "rb") as handle:
                    if handle.read() != text.encode("ascii"):
                        raise OSError(5, "what was written cannot be read back")
            share_record.write(place, self._generation(entries))
            private_files.sync_folder(os.path.dirname(place))
        except (OSError, ValueError, HackspaceError) as error:
            self._cancel()
            self.encrypted.clear()
            why = error.strerror if isinstance(error, OSError) else getattr(error, "message", type(error).__name__)
            raise HackspaceError(
                f"the new shares could not be written ({why}). The attempt is cancelled, the present shares are valid.",
                item="output_dir",
                rule="shares-not-written",
                fix="make room in the folder or mend the key named, then run again with the present shares.",
            ) from None

    def _generation(self, entries: t.Sequence[Entry]) -> Record:
        """Return the record of the new generation."""
        old = self.record
        nodes = old.nodes if old else ()
        return Record(
            state="complete",
            generation=self._pending.generation,
            made_at=self._pending.begun_at,
            kind=self.server.kind,
            threshold=self._pending.threshold,
            holders=tuple(entries),
            initialised_at=old.initialised_at if old else "",
            previous=old.generation if old else "",
            nodes=nodes,
            cluster=self.server.cluster,
        )

    def _cancel(self) -> None:
        with contextlib.suppress(HackspaceError):
            self._request("DELETE", self.server.ends.init)
        with contextlib.suppress(OSError):
            self._forget()

    # -- verification --------------------------------------------------------------------------------------------------

    def _verify(self, decision: Decision, given: t.Sequence[Share]) -> None:
        """Send the new shares of holders who decrypted their new files."""
        present = self.clock()
        marks = {s.holder: fingerprint(s.raw) for s in given}
        entries = [
            dataclasses.replace(e, fingerprint=marks[e.holder], verified_at=present)
            if e.holder in marks
            else (e if e.holder in decision.given else dataclasses.replace(e, verified_at=""))
            for e in self._pending.holders
        ]
        before = self._pending.holders
        todo = [s for s in given if s.holder not in decision.given]
        if decision.needed <= len(todo):
            self._keep_changed(holders=tuple(entries))
            share_record.write(
                share_record.generation_folder(self.folder, self._pending.generation), self._generation(entries)
            )
        try:
            self._send_new(todo, decision.given)
        except HackspaceError:
            if self._pending.state != "verified":
                wiped = self._look().verified == 0
                kept = tuple(dataclasses.replace(e, verified_at="") if wiped else e for e in before)
                self._keep_changed(state="handed-out", holders=kept)
            raise
        if self._pending.state == "verified":
            self._finish()
        else:
            sent = {s.holder for s in todo}
            self._keep_changed(
                holders=tuple(n if n.holder in sent else o for n, o in zip(entries, self._pending.holders, strict=True))
            )

    def _send_new(self, shares: t.Sequence[Share], given: t.Sequence[str]) -> None:
        """Send new shares; the record says ``verifying`` before the last one, and ``verified`` after it."""
        ends = self.server.ends
        sent = list(given)
        for share in shares:
            self.missing = max(self._pending.threshold - self.server.verified, 0)
            if not self.missing:
                return
            if self.missing == 1:
                self._keep_changed(state="verifying")
            try:
                answer = self._request(
                    "PUT", ends.verify, {"key": share.key.reveal(), "nonce": self.server.verification_nonce}, slow=True
                )
            except HackspaceError as error:
                raise HackspaceError(
                    f"no usable answer while the new share of {share.holder} was verified ({error.message}). Both "
                    "generations are kept.",
                    item=ends.verify,
                    rule="verification-cut",
                    fix="run again with the new shares (new_holders): it finds out what was finished.",
                ) from None
            sent.append(share.holder)
            body = inner(answer.body)
            if answer.status == 200 and body.get("complete"):
                self._keep_changed(state="verified")
                self.missing = 0
                return
            if answer.status != 200:
                self._refused(share, sent, answer)
            progress = int(body.get("progress") or 0) if answer.status == 200 else self._look().verified
            if self._pending.state == "verifying":
                self._keep_changed(state="handed-out")
            self.server = dataclasses.replace(self.server, verified=progress)
            self.missing = max(self._pending.threshold - progress, 0)

    def _refused(self, share: Share, sent: t.Sequence[str], answer: Reply) -> None:
        """Return if the share was there already; raise what the refusal means otherwise."""
        now = self._look()
        if now.started and now.verified and _TWICE in str(answer.body.get("errors")):
            return
        if self._pending.state == "verifying" and now.started and now.nonce == self._pending.nonce:
            self._keep_changed(state="handed-out")
        if not now.started or now.nonce != self._pending.nonce:
            raise HackspaceError(
                f"somebody cancelled the attempt, or OpenBao restarted, while {share.holder}'s new share was sent.",
                item=self.server.ends.verify,
                rule="nonce-changed",
                fix="run again: it finds out what is in force.",
                status=answer.status,
            )
        raise HackspaceError(
            f"the new shares of {', '.join(sent)} were refused; at least one is not of generation "
            f"{self._pending.generation}. The server has dropped all of this round; the present shares are valid.",
            item="new_holders",
            rule="wrong-share",
            fix=f"give the shares of the files in {share_record.GENERATIONS}/{self._pending.generation}.",
            status=answer.status,
            data={"suspects": list(sent)},
        )

    def _proved(self) -> None:
        """The server took the new shares as the present ones: they are in force. The attempt has done its work."""
        self._request("DELETE", self.server.ends.init)
        self._keep_changed(state="verified", proof_nonce="")
        self._finish()

    def _disproved(self) -> None:
        """The server refused shares that are those of the new generation: the present ones stayed in force."""
        self._request("DELETE", self.server.ends.init)
        generation = self._pending.generation
        self._forget()
        self.missing = 0
        self.warnings.append(
            f"generation {generation} never came into force; the present shares are valid. Run again to begin again."
        )

    # -- the end -------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Put the files of the new generation into their places; can be repeated from any point."""
        if self._pending.state != "verified":
            self._keep_changed(state="verified")
        rotation, old = self._pending, self.record
        place = share_record.generation_folder(self.folder, rotation.generation)
        new = dataclasses.replace(self._generation(rotation.holders), cluster=self.server.cluster)
        if old and old.generation:
            archive = share_record.generation_folder(self.folder, old.generation)
            if not os.path.exists(share_record.path_of(archive)):
                os.makedirs(archive, mode=0o700, exist_ok=True)
                for entry in old.holders:
                    self._copy(os.path.join(self.folder, entry.file), os.path.join(archive, entry.file))
                share_record.write(archive, dataclasses.replace(old, rotation=None))
        for entry in rotation.holders:
            with open(os.path.join(place, entry.file), "rb") as handle:
                private_files.replace(os.path.join(self.folder, entry.file), handle.read())
        share_record.write(place, new)
        present = {e.file for e in rotation.holders}
        for entry in old.holders if old else ():
            if entry.file and entry.file not in present:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.folder, entry.file))
        self.record = new
        share_record.write(self.folder, new)
        self.missing, self.finished = 0, True

    @staticmethod
    def _copy(source: str, target: str) -> None:
        """Copy a share file that is there; adopted records name none."""
        if not os.path.isfile(source) or os.path.exists(target):
            return
        with open(source, "rb") as handle:
            private_files.write_new(target, handle.read())
