# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Make the administrators' login with a root token, prove that it works, revoke the root token, prove that."""

from __future__ import annotations

import time
import typing as t

from .._core.errors import HackspaceError
from .._core.plan import Plan
from .._core.redact import Secret
from .admin_plan import Admin, Present, mounts_of, plan_admin
from .ports import Api

#: Gives a connection that logs in as the administrators do.
LoginAs = t.Callable[[Admin], Api]


def read_present(api: Api, admin: Admin) -> Present:
    """Return what the server has of the login."""
    mounts = mounts_of(api.request("GET", "sys/auth").body)
    answer = api.request("GET", f"sys/policies/acl/{admin.policy_name}", ok=(200, 404))
    policy = (answer.body.get("data") or {}).get("policy") if answer.status == 200 else None
    user: dict[str, t.Any] | None = None
    if mounts.get(admin.mount) == admin.method:
        answer = api.request("GET", admin.user_path, ok=(200, 404))
        user = answer.body.get("data") if answer.status == 200 else None
    return Present(mounts=mounts, policy=policy, user=user)


def prove_login(admin: Admin, login_as: LoginAs) -> None:
    """Log in as the administrators and check that the token has their OpenBao policy.

    :raises HackspaceError: it does not work.
    """
    api = login_as(admin)
    try:
        api.login()
        data = api.request("GET", "auth/token/lookup-self").body.get("data") or {}
    finally:
        api.close()
    if admin.policy_name not in (data.get("policies") or []):
        raise HackspaceError(
            f"the login works, but its token does not carry the OpenBao policy {admin.policy_name}.",
            item=f"{admin.mount}/{admin.username}",
            rule="admin-login",
            fix="check the login's token_policies.",
        )


def login_state(admin: Admin, login_as: LoginAs) -> t.Literal["works", "refused", "unknown"]:
    """Say whether the administrators can log in; ``unknown`` when no node could tell (sealed, unreachable)."""
    try:
        prove_login(admin, login_as)
    except HackspaceError as error:
        return "refused" if error.rule in ("login", "admin-login") else "unknown"
    return "works"


def revoke(api: Api, token: Secret, *, item: str, sleep: t.Callable[[float], None] = time.sleep) -> None:
    """Revoke *token* and prove that the server knows it no more.

    :raises HackspaceError: ``root-token-alive``: it could not be done in three attempts.
    """
    api.use_token(token)
    problem: HackspaceError | None = None
    for attempt in range(3):
        if attempt:
            sleep(1.0)
        try:
            api.request("POST", "auth/token/revoke-self", {}, ok=(200, 204, 403))
            if api.request("GET", "auth/token/lookup-self", ok=(200, 403)).status == 403:
                return
        except HackspaceError as error:
            problem = error
    why = f" ({problem.message})" if problem else ""
    raise HackspaceError(
        f"the root token could not be revoked{why}. It is stored nowhere and nobody has seen it, but it never expires.",
        item=item,
        rule="root-token-alive",
        fix="run openbao_generate_root with revoke_other_root_tokens: true once the server answers.",
    )


def create_login(
    api: Api,
    token: Secret,
    admin: Admin,
    login_as: LoginAs,
    *,
    item: str,
    adopt: bool = False,
    before_revoke: t.Callable[[], None] | None = None,
) -> Plan:
    """Make the login with the root *token*, prove it, revoke the token whatever happens, prove that too.

    :param before_revoke: more to do with the root token, after the login works.
    :raises HackspaceError: what failed, with ``data['root_token']`` ``revoked`` or ``alive``.
    """
    failed: HackspaceError | None = None
    plan = Plan()
    api.use_token(token)
    try:
        plan = plan_admin(admin, read_present(api, admin), adopt=adopt)
        for change in plan.changes:
            method, path, body = change.payload
            try:
                api.request(method, path, body, quiet="password" in body)
            except HackspaceError as error:
                error.item = f"{change.kind} {change.name}"
                raise
        prove_login(admin, login_as)
        if before_revoke:
            before_revoke()
    except HackspaceError as error:
        failed = error
    finally:
        try:
            revoke(api, token, item=item)
            gone = "revoked"
        except HackspaceError as error:
            gone = "alive"
            if failed is None:
                failed = error
            else:
                failed.message = f"{failed.message} Besides, {error.message}"
                failed.fix = f"{failed.fix} {error.fix}".strip()
    if failed is not None:
        failed.data["root_token"] = gone
        if failed.rule != "root-token-alive":
            failed.message = f"{failed.message} The root token is {gone}."
            failed.fix = f"{failed.fix} Then finish with openbao_generate_root.".strip()
        raise failed
    return plan


def other_root_tokens(api: Api) -> list[str]:
    """Return the accessors of every root token but the one in use. One request per token of the server."""
    answer = api.request("GET", "auth/token/lookup-self")
    own = (answer.body.get("data") or {}).get("accessor")
    listed = api.request("LIST", "auth/token/accessors", ok=(200, 404))
    accessors = [str(a) for a in (listed.body.get("data") or {}).get("keys") or []] if listed.status == 200 else []
    found: list[str] = []
    for accessor in accessors:
        if accessor == own:
            continue
        one = api.request("POST", "auth/token/lookup-accessor", {"accessor": accessor}, ok=(200, 400, 403, 404))
        if one.status == 200 and "root" in ((one.body.get("data") or {}).get("policies") or []):
            found.append(accessor)
    return found


def revoke_other_root_tokens(api: Api) -> int:
    """Revoke every root token but the one in use, by accessor; return how many there were."""
    accessors = other_root_tokens(api)
    for accessor in accessors:
        api.request("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    return len(accessors)
