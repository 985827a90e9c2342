#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_generate_root
version_added: 0.1.0
short_description: Make the administrators' login from holders' shares, in an emergency
description:
  - For the day on which no administrator can log in any more, and for finishing an initialisation that was cut short.
    Holders' shares generate a root token in memory, which makes the administrators' login and is revoked in that run.
  - The root token is never returned in clear and never written. With O(do=hand_over) it goes, encrypted, to one person.
  - Uses the endpoints that the server's version has. HashiCorp Vault 1.x and OpenBao up to 2.5.2 need no login.
    OpenBao 2.5.3 turns these endpoints off by default. OpenBao 2.6 and newer need, besides the shares, a login with
    rights on C(sys/generate-root-token/*).
  - All shares needed are given in one run, because what they unlock is encoded with a one-time pad that only this run
    knows.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
attributes:
  check_mode:
    details: Asks the server what it would need; sends no share and begins no attempt.
  idempotent:
    support: partial
    details: With O(do=create_admin) nothing is done when the login works. O(do=hand_over) is an action.
requirements:
  - pyrage, for O(recipient.age_recipient)
  - gpg, for O(recipient.pgp_public_key_file)
options:
  holders:
    description:
      - Whose unseal shares to use; recovery shares, where the seal unseals by itself. The server decides how many are
        needed; more are not sent. A holder without a source is asked on the terminal, without echo.
      - Nothing is read or asked while the administrators' login works, nor in check mode.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The holder's name, for messages.
        type: str
        required: true
      share:
        description: The share itself, hex or base64. For callers that have it in memory.
        type: str
      file:
        description: File with the share, mode 0600, or encrypted with ansible-vault or sops.
        type: path
      age_file:
        description: File with the share encrypted with age.
        type: path
      age_identity_file:
        description: File with the age identity, mode 0600, for O(holders[].age_file).
        type: path
      pgp_file:
        description: File with the share as PGP message, decrypted by C(gpg) of the user who runs Ansible.
        type: path
      command:
        description: Program and arguments that print the share. It must not have the share as an argument.
        type: list
        elements: str
  do:
    description: What the root token is for.
    type: str
    choices: [create_admin, hand_over]
    default: create_admin
  admin:
    description:
      - The administrators' login to make, for O(do=create_admin).
      - The same option as in M(hackspace.infra.openbao_init).
    type: dict
    suboptions:
      auth_method:
        description: How administrators log in.
        type: str
        choices: [userpass, cert]
        default: userpass
      mount_point:
        description: Path of the auth mount, the method's name by default.
        type: str
      username:
        description: Name of the login (of the certificate role, for V(cert)).
        type: str
        required: true
      password:
        description: For V(userpass), 12 characters or more.
        type: str
      password_file:
        description:
          - File with the password, mode 0600; may be encrypted by ansible-vault.
          - Alternative to O(admin.password).
        type: path
      certificate_file:
        description: For V(cert), PEM file with the client certificate.
        type: path
      private_key_file:
        description: For V(cert), PEM file with its key. Used to prove that the login works, and not sent.
        type: path
      policy_name:
        description: Name of the administrators' OpenBao policy.
        type: str
        default: platform-admin
      policy:
        description: Its text (HCL). The default is that of M(hackspace.infra.openbao_init).
        type: str
  adopt:
    description: Replace an OpenBao policy of that name that differs and is not marked as ours, for O(do=create_admin).
    type: bool
    default: false
  revoke_other_root_tokens:
    description:
      - Revoke every other root token too, such as that of an initialisation that was cut short.
      - With O(do=create_admin).
      - Looks at every token of the server, one request each.
    type: bool
    default: false
  recipient:
    description: The person who gets the root token, for O(do=hand_over).
    type: dict
    suboptions:
      name:
        description: Their name, for reports.
        type: str
        required: true
      age_recipient:
        description:
          - Their age recipient (C(age1...)) or SSH public key.
          - Give exactly one of this and O(recipient.pgp_public_key_file).
        type: str
      pgp_public_key_file:
        description: File with their PGP public key. The server encrypts to it, so that this run never sees the token.
        type: path
  output_file:
    description: File for the encrypted root token, for O(do=hand_over), in a folder of mode 0700. Never overwritten.
    type: path
  on_progress:
    description: What to do about an attempt that is under way. V(reset) cancels it, V(fail) leaves it alone.
    type: str
    choices: [fail, reset]
    default: fail
  server_version:
    description: The server's version, for development builds, which do not tell it.
    type: str
seealso:
  - module: hackspace.infra.openbao_init
author:
  - hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Make the administrators' login again
  hackspace.infra.openbao_generate_root:
    url: https://192.0.2.10:8200
    tls_server_name: openbao-0.example.org
    ca_cert: /etc/ssl/site-ca.pem
    auth_method: none
    holders:
      - {name: ada, age_file: /srv/shares/ada.age, age_identity_file: ~/.config/age/ada.txt}
      - {name: bob, pgp_file: /srv/shares/bob.asc}
      - name: cyd # asked on the terminal
    admin:
      username: platform-admin
      password_file: /srv/private/platform-admin.password

- name: Give one named person a root token, encrypted
  hackspace.infra.openbao_generate_root:
    url: https://192.0.2.10:8200
    tls_server_name: openbao-0.example.org
    ca_cert: /etc/ssl/site-ca.pem
    auth_method: none
    holders: [{name: ada}, {name: bob}, {name: cyd}]
    do: hand_over
    recipient:
      name: ada
      age_recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
    output_file: /srv/shares/root-token.ada.age
"""

RETURN = r"""
root_token:
  description: >-
    What became of the root token: C(revoked), C(encrypted) to O(recipient), or C(alive) when it could not be revoked.
    C(unused) if none was made.
  returned: always, once the server was asked
  type: str
holders:
  description: Whose shares were used, or would be.
  returned: success
  type: list
  elements: str
required:
  description: How many shares the server needs; 0 if none, as the login works.
  returned: success
  type: int
admin_login:
  description: C(works), or C(not asked) with O(do=hand_over). C(refused) in check mode when it would be made.
  returned: success
  type: str
other_root_tokens:
  description: How many other root tokens were revoked, or would be where that can be told.
  returned: with O(revoke_other_root_tokens)
  type: int
encrypted_root_token:
  description: The encrypted root token, as written to O(output_file). Only O(recipient) can read it.
  returned: with O(do=hand_over)
  type: str
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: dict
"""

import base64
import dataclasses
import functools
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    CONNECTION_SPEC,
    Connection,
    Login,
    OpenBao,
    connection_of,
    login_of,
    read_private_file,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core import private_files
from ansible_collections.hackspace.infra.plugins.module_utils._core.encrypt import (
    PgpRecipient,
    Recipient,
    armor_message,
    recipient_of,
    try_out,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    ArgumentSpec,
    hide,
    plan_result,
    program,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Change, Plan
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    admin_apply,
    root_apply,
    root_plan,
    versions,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_options import ADMIN_OPTIONS, admin_values
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.admin_plan import Admin, parse_admin
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.share_options import recipient, sources
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.shares import Share, parse

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "holders": sources(),
            "do": {"type": "str", "choices": ["create_admin", "hand_over"], "default": "create_admin"},
            "admin": ADMIN_OPTIONS,
            "adopt": {"type": "bool", "default": False},
            "revoke_other_root_tokens": {"type": "bool", "default": False, "no_log": False},
            "recipient": recipient(),
            "output_file": {"type": "path"},
            "on_progress": {"type": "str", "choices": ["fail", "reset"], "default": "fail"},
            "server_version": {"type": "str"},
        },
        required_if=(
            ("do", "create_admin", ("admin",)),
            ("do", "hand_over", ("recipient", "output_file")),
        ),
    )
)

#: No root token came up in this run.
UNUSED: t.Final = {"root_token": "unused"}


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    params: dict[str, t.Any] = dict(module.params)
    create = params["do"] == "create_admin"
    for name in ("recipient", "output_file") if create else ("admin", "adopt", "revoke_other_root_tokens"):
        check(
            not params[name],
            f"does not go with do: {params['do']}.",
            item=name,
            rule="option-without-effect",
            fix="leave it out.",
        )
    given = _given(module, params["holders"])
    connection = connection_of(params)
    with OpenBao(connection, login_of(params)) as api:
        if create:
            return _create_admin(module, params, api, connection, given)
        return _hand_over(module, params, api, given)


@dataclasses.dataclass(frozen=True)
class Given:
    """The shares that this run has; in check mode perhaps the names only, as nothing is read then."""

    holders: list[str]
    shares: list[Share]
    same: dict[str, str]


def _given(module: AnsibleModule, entries: list[dict[str, t.Any]]) -> Given:
    unread = [e["name"] for e in entries if not e["share"]]
    hide(module, *(e["share"] for e in entries))
    if unread and not module.check_mode:
        raise InvalidInput(
            f"the share of {', '.join(unread)} was not read.",
            item="holders",
            rule="share-missing",
            fix="let the action plugin of this module run: delegate nothing, use its full name.",
        )
    shares, same = parse((e["name"], e["share"]) for e in entries if e["share"])
    names = [e["name"] for e in entries if e["name"] not in same]
    twice = {name for name in names if names.count(name) > 1}
    check(
        not twice,
        f"{', '.join(sorted(twice))} is given twice.",
        item="holders",
        rule="unique-holder",
        fix="name every holder once; who holds two shares has two names.",
    )
    return Given(names, shares, same)


def _ready(api: OpenBao, params: dict[str, t.Any]) -> tuple[root_plan.Endpoints, dict[str, t.Any]]:
    """Return the endpoints of this server and the state of an attempt; only reads."""
    status = api.request("GET", "sys/seal-status", token=False).body
    if not status.get("initialized") or status.get("sealed", True):
        word = "sealed" if status.get("initialized") else "not initialised"
        raise HackspaceError(
            f"is {word}; root tokens are generated by unsealed nodes.",
            item=api.connection.url,
            rule="not-unsealed",
            fix="run playbooks/unseal.yml first."
            if status.get("initialized")
            else "run hackspace.infra.openbao_init, or address a node that has joined.",
        )
    version = versions.of(status, override=params["server_version"])
    return root_apply.find_endpoints(api, version, has_login=params["auth_method"] != "none")


def _token(
    module: AnsibleModule,
    params: dict[str, t.Any],
    api: OpenBao,
    ready: tuple[root_plan.Endpoints, dict[str, t.Any]],
    given: Given,
    *,
    pgp: PgpRecipient | None = None,
) -> tuple[Secret, list[str]]:
    """Generate the root token and make it unprintable."""
    ends, status = ready
    token, holders = root_apply.generate(api, ends, status, given.shares, on_progress=params["on_progress"], pgp=pgp)
    if pgp is None:
        hide(module, token.reveal())
    return token, holders


def _create_admin(
    module: AnsibleModule,
    params: dict[str, t.Any],
    api: OpenBao,
    connection: Connection,
    given: Given,
) -> t.Mapping[str, t.Any]:
    values = admin_values(params["admin"], read_private_file)
    hide(module, values.get("password"))
    admin = parse_admin(values, item="admin")
    login_as = functools.partial(_as_admin, connection)
    others = params["revoke_other_root_tokens"]
    if admin_apply.login_state(admin, login_as) == "works":
        return _works_already(module, admin, login_as, revoke_others=others)
    ready = _ready(api, params)
    holders, plan = _plan(params, ready[1], given)
    plan.add(
        Change(
            "administrators' login",
            f"{admin.mount}/{admin.username}",
            "create",
            after={"auth_method": admin.method, "policy": admin.policy_name},
            why="nobody can log in with it",
            public=frozenset({"auth_method", "policy"}),
        )
    )
    result: dict[str, t.Any] = {"required": int(ready[1].get("required") or 0), "holders": holders}
    if module.check_mode:
        return plan_result(module, plan, admin_login="refused", **UNUSED, **result)
    token, _other = _token(module, params, api, ready, given)
    revoked: list[int] = []
    root = OpenBao(connection)
    try:
        admin_apply.create_login(
            root,
            token,
            admin,
            login_as,
            item=connection.url,
            adopt=params["adopt"],
            before_revoke=(lambda: revoked.append(admin_apply.revoke_other_root_tokens(root))) if others else None,
        )
    finally:
        root.close()
    if others:
        result["other_root_tokens"] = revoked[0]
    return plan_result(module, plan, admin_login="works", **{"root_token": "revoked"}, **result)


def _works_already(
    module: AnsibleModule, admin: Admin, login_as: admin_apply.LoginAs, *, revoke_others: bool
) -> t.Mapping[str, t.Any]:
    """The login works: nothing to generate. Other root tokens are revoked with the administrators' own rights."""
    plan = Plan(unchanged=1)
    result: dict[str, t.Any] = {"required": 0, "holders": []}
    if revoke_others:
        api = login_as(admin)
        try:
            found = admin_apply.other_root_tokens(api)
            for accessor in found:
                plan.add(Change("root token", f"accessor {accessor}", "delete", before={}, why="revoked"))
                if not module.check_mode:
                    api.request("POST", "auth/token/revoke-accessor", {"accessor": accessor})
        finally:
            api.close()
        result["other_root_tokens"] = len(found)
    return plan_result(module, plan, admin_login="works", **UNUSED, **result)


def _plan(params: dict[str, t.Any], status: t.Mapping[str, t.Any], given: Given) -> tuple[list[str], Plan]:
    """Return whose shares would be used, and the first steps. Refuses what would be refused later."""
    plan = Plan()
    required = int(status.get("required") or 0)
    root_plan.check_enough(given.holders, required, given.same)
    if root_plan.allowed_to_start(status, params["on_progress"]):
        plan.add(Change("root token", "attempt of others", "reset", before={}, why="on_progress: reset"))
    names = given.holders[:required]
    plan.add(
        Change(
            "root token",
            "temporary" if params["do"] == "create_admin" else f"for {params['recipient']['name']}",
            "create",
            after={"holders": names},
            why="revoked in the same run" if params["do"] == "create_admin" else "encrypted; revoke it after use",
            public=frozenset({"holders"}),
        )
    )
    return names, plan


def _hand_over(module: AnsibleModule, params: dict[str, t.Any], api: OpenBao, given: Given) -> t.Mapping[str, t.Any]:
    wanted = params["recipient"]
    recipient = recipient_of(
        wanted["age_recipient"], wanted["pgp_public_key_file"], program(module), item=f"recipient ({wanted['name']})"
    )
    path = os.path.abspath(params["output_file"])
    private_files.check_private_folder(os.path.dirname(path), item="output_file")
    check(
        not os.path.lexists(path),
        f"{path} exists and is never overwritten.",
        item="output_file",
        rule="file-exists",
        fix="give another name, or move it away.",
    )
    try_out(recipient)
    ready = _ready(api, params)
    holders, plan = _plan(params, ready[1], given)
    result: dict[str, t.Any] = {
        "required": int(ready[1].get("required") or 0),
        "holders": holders,
        "admin_login": "not asked",
    }
    if module.check_mode:
        return plan_result(module, plan, **UNUSED, **result)

    def generate(pgp: PgpRecipient | None = None) -> Secret:
        return _token(module, params, api, ready, given, pgp=pgp)[0]

    text = _encrypted(generate, api, recipient, path)
    return plan_result(module, plan, **{"root_token": "encrypted"}, encrypted_root_token=text, **result)


def _encrypted(generate: t.Callable[..., Secret], api: OpenBao, recipient: Recipient, path: str) -> str:
    """Generate, encrypt, write; the encrypted text is in the error if it cannot be written."""
    text = ""
    try:
        private_files.reserve(path)
        if isinstance(recipient, PgpRecipient):
            text = armor_message(base64.b64decode(generate(recipient).reveal()))
        else:
            token = generate()
            try:
                text = recipient.encrypt(token.reveal().encode("ascii"))
            except HackspaceError:
                root = OpenBao(api.connection)
                admin_apply.revoke(root, token, item=api.connection.url)
                root.close()
                raise
        private_files.write_new(path, text.encode("ascii"))
    except OSError as error:
        raise HackspaceError(
            f"{path} cannot be written ({error.strerror}).",
            item="output_file",
            rule="file-write",
            fix="save encrypted_root_token of this result to a file." if text else "make room; nothing was generated.",
            data={"encrypted_root_token": text, "root_token": "encrypted" if text else "unused"},
        ) from None
    finally:
        private_files.release(path)
    return text


def _as_admin(connection: Connection, admin: Admin) -> OpenBao:
    return OpenBao(connection, Login(**admin.login_fields()))


if __name__ == "__main__":
    run(SPEC, main)
