# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The ceremony that turns holders' shares into a root token, in memory."""

from __future__ import annotations

import base64
import contextlib
import typing as t

from .._core.encrypt import PgpRecipient
from .._core.errors import HackspaceError
from .._core.redact import Secret
from .ports import Api
from .root_plan import (
    Endpoints,
    allowed_to_start,
    choose,
    decode_token,
    endpoints,
    endpoints_off,
    inner,
)
from .shares import Share
from .versions import Version


def find_endpoints(api: Api, version: Version, *, has_login: bool) -> tuple[Endpoints, dict[str, t.Any]]:
    """Return the endpoints that this server serves, and the state of an attempt. Only reads.

    :raises HackspaceError: ``generate-root-off``, or the login may not.
    """
    ends = endpoints(version, has_login=has_login)
    refused: HackspaceError | None = None
    if ends.needs_login:
        try:
            api.login()
        except HackspaceError as error:
            if error.rule != "login":
                raise
            refused = error  # the open ones may have been turned on just because nobody can log in
            ends = endpoints(version, has_login=False)
    answer = api.request("GET", ends.attempt, ok=(200, 400, 403, 404, 405), token=ends.needs_login)
    if answer.status == 200:
        return ends, inner(answer.body)
    if ends.needs_login:
        raise HackspaceError(
            f"the login in use may not generate root tokens (HTTP {answer.status}).",
            item=ends.attempt,
            rule="generate-root-rights",
            fix=f"its OpenBao policy needs create, read, update, delete and sudo on {ends.base}/*.",
            status=answer.status,
        )
    problem = endpoints_off(version)
    if refused:
        problem.message = f"{problem.message} Besides, {refused.message}"
    raise problem


def generate(
    api: Api,
    ends: Endpoints,
    status: t.Mapping[str, t.Any],
    shares: t.Sequence[Share],
    *,
    on_progress: str = "fail",
    pgp: PgpRecipient | None = None,
) -> tuple[Secret, list[str]]:
    """Generate a root token; return it (or, for *pgp*, the base64 of a PGP message) and the holders who took part.

    An attempt of our own that fails is cancelled.

    :raises HackspaceError: too few shares, an attempt of others, a share that is not of this cluster.
    """
    with_login = ends.needs_login
    chosen = choose(shares, int(status.get("required") or 0))
    if allowed_to_start(status, on_progress):
        api.request("DELETE", ends.attempt, token=with_login)
    body = {"pgp_key": base64.b64encode(pgp.binary).decode("ascii")} if pgp else {}
    begun = inner(api.request("PUT", ends.attempt, body, ok=(200,), token=with_login).body)
    nonce, otp = str(begun.get("nonce") or ""), str(begun.get("otp") or "")
    try:
        if not nonce or (not pgp and not otp):
            raise HackspaceError(
                "the server began an attempt without a nonce or a one-time pad.",
                item=ends.attempt,
                rule="attempt-answer",
                fix="report it with the server's version.",
            )
        encoded = _send_all(api, ends, chosen, nonce)
    except BaseException:
        with contextlib.suppress(HackspaceError):
            api.request("DELETE", ends.attempt, token=with_login)
        raise
    return (Secret(encoded) if pgp else decode_token(encoded, otp)), [g.holder for g in chosen]


def _send_all(api: Api, ends: Endpoints, chosen: t.Sequence[Share], nonce: str) -> str:
    names = ", ".join(g.holder for g in chosen)
    for index, given in enumerate(chosen):
        last = index + 1 == len(chosen)
        try:
            answer = api.request(
                "PUT",
                ends.update,
                {"key": given.key.reveal(), "nonce": nonce},
                ok=(200,),
                token=ends.needs_login,
                quiet=True,
            )
        except HackspaceError as error:
            if error.status is None:
                raise
            who, why = (
                (
                    f"holders {names}",
                    "at least one of these shares is not of this cluster (the server cannot say which)",
                )
                if last
                else (f"holder {given.holder}", "the server refused this share, or somebody cancelled the attempt")
            )
            raise HackspaceError(
                f"{why}; the attempt is cancelled and no root token exists.",
                item=who,
                rule="share-refused",
                fix="compare with the fingerprints in shares.json: age -d -i IDENTITY FILE | xxd -r -p | sha256sum.",
                status=error.status,
            ) from None
        fields = inner(answer.body)
        encoded = fields.get("encoded_token") or fields.get("encoded_root_token")
        if fields.get("complete") and encoded:
            return str(encoded)
    raise HackspaceError(
        "the server took all shares and gave no root token.",
        item=ends.update,
        rule="attempt-answer",
        fix="run again; somebody may have changed the threshold meanwhile.",
    )
