#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_auth_mounts
short_description: Keeps a list of auth mounts with their configuration, roles and users as wanted
version_added: 0.1.0
description:
  - Takes the whole list, reads all auth mounts with one request, then the configuration, roles and users of those whose
    configuration, roles and users are wanted, and writes what differs. What is left out of a declared configuration,
    role or user
    is at the server's default, so a change by hand is undone.
  - Marks what it makes by C([hackspace.infra]) at the end of the description. An auth mount without it is not ours;
    if it (or one of
    its roles and users) differs from what is wanted, the module shows it in RV(foreign) and refuses to write anything
    until
    O(adopt=true). New roles and users may be added to an auth mount that is not ours.
  - The type of an auth mount that exists cannot be changed; a new one would have another accessor and none of its
    users.
  - Auth mounts whose path begins with C(kubernetes-) belong to C(jwt_reviewer) and are refused;
    C(token) is never touched.
  - The server never returns O(mounts[].oidc_client_secret). Its fingerprint (first 12 hex digits of the sha256) is
    kept in the mark, as
    C([hackspace.infra oidc_client_secret=0123456789ab]), so that a new one is noticed.
options:
  mounts:
    description: The wanted auth mounts.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the mount, without C(auth/).
        type: str
        required: true
      type:
        description: Type of the auth method, such as V(userpass), V(oidc), V(jwt), V(cert), V(approle), V(ldap).
        type: str
        required: true
      description:
        description: Description without the mark. Left as it is if not given.
        type: str
      config:
        description: Settings of the mount. What is left out is at its default.
        type: dict
        suboptions:
          default_lease_ttl:
            description: Default lifetime of tokens, such as V(1h). The server's default if left out.
            type: str
          max_lease_ttl:
            description: Greatest lifetime of tokens. The server's default if left out.
            type: str
          token_type:
            description: Type of the tokens. V(default-service) by default.
            type: str
            choices: [default-service, default-batch, service, batch]
          listing_visibility:
            description: Whether the user interface shows the mount before login. V(hidden) by default.
            type: str
            choices: [hidden, unauth]
          audit_non_hmac_request_keys:
            description: Keys of requests that audit logs show in clear.
            type: list
            elements: str
          audit_non_hmac_response_keys:
            description: Keys of answers that audit logs show in clear.
            type: list
            elements: str
          passthrough_request_headers:
            description: Headers of requests that are passed to the method.
            type: list
            elements: str
          allowed_response_headers:
            description: Headers that the method may add to answers.
            type: list
            elements: str
          user_lockout_config:
            description: >-
              What happens after failed logins, for V(userpass), V(ldap) and V(approle). V(0) is the server's default.
            type: dict
            suboptions:
              lockout_threshold:
                description: Number of failed logins after which a user is locked out.
                type: int
              lockout_duration:
                description: How long a user is locked out.
                type: str
              lockout_counter_reset_duration:
                description: After how long without a failed login the counter starts anew.
                type: str
              lockout_disable:
                description: Lock nobody out.
                type: bool
      method_config:
        description:
          - Configuration of the method, for V(oidc), V(jwt) and V(cert). Left alone if not given. Always written
            completely.
          - For V(oidc) and V(jwt) exactly one of C(oidc_discovery_url), C(jwks_url) and C(jwt_validation_pubkeys), and
            C(oidc_discovery_ca_pem), C(oidc_client_id), C(oidc_response_mode), C(oidc_response_types), C(jwks_ca_pem),
            C(jwt_supported_algs), C(bound_issuer), C(default_role), C(provider_config), C(namespace_in_state). The
            server fetches
            the addresses when they are written. C(skip_jwks_validation) (OpenBao 2.3 or newer) lets it accept ones
            that do not answer
            and is not compared.
          - For V(cert) C(disable_binding), C(enable_identity_alias_metadata), C(ocsp_cache_size).
        type: dict
      oidc_client_secret:
        description: >-
          The client secret that belongs to C(oidc_client_id) of O(mounts[].method_config), 20 characters or more.
        type: str
      oidc_client_secret_file:
        description: >-
          File with the client secret, mode 0600; may be encrypted by ansible-vault. Alternative to
          O(mounts[].oidc_client_secret).
        type: path
      local:
        description: Not replicated. Cannot be changed later.
        type: bool
        default: false
      seal_wrap:
        description: Wrap critical values by the seal. Cannot be changed later.
        type: bool
        default: false
      roles:
        description:
          - Roles of V(oidc), V(jwt), V(cert) and V(approle) mounts, each with C(name) and the fields of the method.
            Left alone if not given.
          - All take C(token_policies), C(token_ttl), C(token_max_ttl), C(token_explicit_max_ttl), C(token_period),
            C(token_bound_cidrs), C(token_no_default_policy), C(token_num_uses), C(token_type) and, on OpenBao,
            C(token_strictly_bind_ip).
          - V(oidc) and V(jwt) take C(role_type) (the mount's type by default), C(user_claim),
            C(user_claim_json_pointer), C(groups_claim),
            C(bound_audiences), C(bound_subject), C(bound_claims), C(bound_claims_type), C(claim_mappings),
            C(oidc_scopes),
            C(allowed_redirect_uris), C(max_age), C(expiration_leeway), C(not_before_leeway), C(clock_skew_leeway),
            C(verbose_oidc_logging).
          - V(cert) takes C(certificate), C(display_name), C(allowed_names), C(allowed_common_names),
            C(allowed_dns_sans),
            C(allowed_email_sans), C(allowed_uri_sans), C(allowed_organizational_units), C(required_extensions),
            C(allowed_metadata_extensions), C(ocsp_enabled), C(ocsp_ca_certificates), C(ocsp_servers_override),
            C(ocsp_fail_open), C(ocsp_query_all_servers).
          - V(approle) takes C(bind_secret_id), C(secret_id_bound_cidrs), C(secret_id_num_uses), C(secret_id_ttl),
            C(local_secret_ids).
        type: list
        elements: dict
      users:
        description: Users of V(userpass) mounts. Left alone if not given.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the user, in small letters.
            type: str
            required: true
          password:
            description: Password, 12 characters or more. Needed when the user is made.
            type: str
          password_file:
            description: >-
              File with the password, mode 0600; may be encrypted by ansible-vault. Alternative to
              O(mounts[].users[].password).
            type: path
          update_password:
            description:
              - V(on_create) sets the password when the user is made and never again, so that people can change theirs.
              - V(always) tries a login with it, also in check mode, and sets it when that fails. The token of the
                login is revoked.
            type: str
            choices: [on_create, always]
            default: on_create
          token_policies:
            description: OpenBao policies of the user's tokens.
            type: list
            elements: str
          token_ttl:
            description: Lifetime of tokens.
            type: str
          token_max_ttl:
            description: Greatest lifetime of tokens.
            type: str
          token_explicit_max_ttl:
            description: Greatest lifetime of tokens whatever else is set.
            type: str
          token_period:
            description: Period of periodic tokens.
            type: str
          token_bound_cidrs:
            description: Addresses and networks from which logins and tokens are accepted.
            type: list
            elements: str
          token_strictly_bind_ip:
            description: Bind each token to the address of its login. OpenBao only.
            type: bool
          token_no_default_policy:
            description: Tokens do not get the OpenBao policy C(default).
            type: bool
          token_num_uses:
            description: How often a token can be used. V(0) is without limit.
            type: int
          token_type:
            description: Type of the tokens.
            type: str
            choices: [default, service, batch]
attributes:
  check_mode:
    details: Reads only, apart from the logins that O(mounts[].users[].update_password=always) tries.
seealso:
  - module: hackspace.infra.openbao_policies
  - module: hackspace.infra.openbao_identity
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.ownership
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Keep the logins of people
  hackspace.infra.openbao_auth_mounts:
    url: https://192.0.2.10:8200
    ca_cert: /etc/openbao/ca.pem
    auth_method: userpass
    username: platform-admin
    password_file: ~/.config/platform-admin
    mounts:
      - path: oidc
        type: oidc
        description: Single sign-on
        config: {listing_visibility: unauth, default_lease_ttl: 1h, max_lease_ttl: 8h}
        method_config:
          oidc_discovery_url: https://id.example.org/application/o/openbao/
          oidc_client_id: openbao
          default_role: member
        oidc_client_secret_file: ~/.config/openbao-client-secret
        roles:
          - name: member
            user_claim: sub
            groups_claim: groups
            allowed_redirect_uris:
              - https://bao.example.org/ui/vault/auth/oidc/oidc/callback
              - http://localhost:8250/oidc/callback
            token_policies: [member]
      - path: userpass
        type: userpass
        users:
          - name: ada
            password_file: ~/.config/openbao-ada
            token_policies: [member]
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
unchanged:
  description: Number of wanted auth mounts, configurations, roles and users that are as wanted.
  returned: success
  type: int
foreign:
  description: Wanted auth mounts, roles and users that exist and are not marked as ours.
  returned: success or when refused
  type: list
  elements: str
accessors:
  description: >-
    Accessors of the wanted auth mounts by path, as they are after this run. Without those that check mode would make.
  returned: success
  type: dict
requests:
  description: Number of requests sent, without the one that ends the login.
  returned: success
  type: int
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    CONNECTION_SPEC,
    OpenBao,
    client_of,
    read_private_file,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_fetch import fetch, own_login
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    hide,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import human_plan, mount_model, mount_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.config_apply import apply_plan

_USER = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "password_file": {"type": "path", "no_log": False},
    "update_password": {
        "type": "str",
        "choices": ["on_create", "always"],
        "default": "on_create",
        "no_log": False,
    },
    "token_policies": {"type": "list", "elements": "str", "no_log": False},
    "token_ttl": {"type": "str", "no_log": False},
    "token_max_ttl": {"type": "str", "no_log": False},
    "token_explicit_max_ttl": {"type": "str", "no_log": False},
    "token_period": {"type": "str", "no_log": False},
    "token_bound_cidrs": {"type": "list", "elements": "str", "no_log": False},
    "token_strictly_bind_ip": {"type": "bool", "no_log": False},
    "token_no_default_policy": {"type": "bool", "no_log": False},
    "token_num_uses": {"type": "int", "no_log": False},
    "token_type": {
        "type": "str",
        "choices": ["default", "service", "batch"],
        "no_log": False,
    },
}

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "mounts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "mutually_exclusive": [["oidc_client_secret", "oidc_client_secret_file"]],
                "options": {
                    "path": {"type": "str", "required": True},
                    "type": {"type": "str", "required": True},
                    "description": {"type": "str"},
                    "config": {
                        "type": "dict",
                        "options": {
                            "default_lease_ttl": {"type": "str"},
                            "max_lease_ttl": {"type": "str"},
                            "token_type": {
                                "type": "str",
                                "choices": ["default-service", "default-batch", "service", "batch"],
                                "no_log": False,
                            },
                            "listing_visibility": {"type": "str", "choices": ["hidden", "unauth"]},
                            "audit_non_hmac_request_keys": {"type": "list", "elements": "str", "no_log": False},
                            "audit_non_hmac_response_keys": {"type": "list", "elements": "str", "no_log": False},
                            "passthrough_request_headers": {"type": "list", "elements": "str", "no_log": False},
                            "allowed_response_headers": {"type": "list", "elements": "str"},
                            "user_lockout_config": {
                                "type": "dict",
                                "options": {
                                    "lockout_threshold": {"type": "int"},
                                    "lockout_duration": {"type": "str"},
                                    "lockout_counter_reset_duration": {"type": "str"},
                                    "lockout_disable": {"type": "bool"},
                                },
                            },
                        },
                    },
                    "method_config": {"type": "dict"},
                    "oidc_client_secret": {"type": "str", "no_log": True},
                    "oidc_client_secret_file": {"type": "path", "no_log": False},
                    "local": {"type": "bool", "default": False},
                    "seal_wrap": {"type": "bool", "default": False},
                    "roles": {"type": "list", "elements": "dict"},
                    "users": {
                        "type": "list",
                        "elements": "dict",
                        "mutually_exclusive": [["password", "password_file"]],
                        "options": _USER,
                    },
                },
            }
        }
    )
)


def with_secrets(module: AnsibleModule) -> list[dict[str, t.Any]]:
    """Return the list with the contents of secret files in place of their names."""
    mounts: list[dict[str, t.Any]] = []
    for number, raw in enumerate(module.params["mounts"]):
        mount = dict(raw)
        misplaced = (mount.get("method_config") or {}).get("oidc_client_secret")
        hide(module, str(misplaced) if misplaced else None)  # refused later, and not to be shown by that
        if mount.get("oidc_client_secret_file"):
            item = f"mounts[{number}].oidc_client_secret_file"
            mount["oidc_client_secret"] = read_private_file(mount["oidc_client_secret_file"], item=item).reveal()
        hide(module, mount.get("oidc_client_secret"))
        if mount.get("users") is not None:
            mount["users"] = [dict(u) for u in mount["users"]]
        for index, user in enumerate(mount.get("users") or []):
            if user.get("password_file"):
                item = f"mounts[{number}].users[{index}].password_file"
                user["password"] = read_private_file(user["password_file"], item=item).reveal()
            hide(module, user.get("password"))
        mounts.append(mount)
    return mounts


def read(client: OpenBao, wanted: t.Sequence[mount_model.AuthMount], *, everything: bool) -> mount_plan.Present:
    """Return what the server has of the wanted ones; with *everything*, also by what login we are in."""
    mounts = mount_model.by_path(client.data("sys/auth") or {})
    there = {m.path: m for m in wanted if m.path in mounts and mounts[m.path].get("type") == m.type}
    configs = fetch(
        client, lambda c, path: c.data(f"auth/{path}/config"), [p for p, m in there.items() if m.config is not None]
    )
    listed = fetch(
        client,
        lambda c, path: c.keys(f"auth/{path}/{there[path].collection.path}"),
        [p for p, m in there.items() if m.entries is not None],
    )
    reads = {
        there[path].entry_path(entry.name): (path, entry.name)
        for path, names in listed.items()
        for entry in there[path].entries or ()
        if entry.name in names
    }
    answers: dict[str, dict[str, dict[str, t.Any]]] = {path: {} for path in listed}
    for key, answer in fetch(client, lambda c, path: c.data(path), list(reads)).items():
        if answer is not None:
            path, name = reads[key]
            answers[path][name] = answer
    present = mount_plan.Present(
        mounts=mounts,
        configs=configs,
        logins={path: human_plan.Logins(frozenset(names), answers[path]) for path, names in listed.items()},
        stale=frozenset(
            (path, entry.name)
            for path, mount in there.items()
            for entry in mount.entries or ()
            if entry.always_password and entry.name in answers.get(path, {}) and not _works(client, mount, entry)
        ),
    )
    if not everything:
        return present
    own = own_login(client)
    came_by = str(own.get("path") or "").removeprefix("auth/")
    meta = own.get("meta") or {}
    return dataclasses.replace(
        present,
        own_mount=max((p for p in mounts if came_by.startswith(f"{p}/")), key=len, default=""),
        own_names=frozenset(str(meta[k]) for k in ("username", "cert_name", "role_name", "role") if meta.get(k)),
    )


def _works(client: OpenBao, mount: mount_model.AuthMount, entry: mount_model.Entry) -> bool:
    """Try a login with the wanted password, and end it at once."""
    password = entry.password.reveal() if entry.password else ""
    answer = client.request(
        "POST",
        f"auth/{mount.path}/login/{entry.name}",
        {"password": password},
        ok=(200, 400, 403, 500),
        token=False,
        quiet=True,
    )
    # HashiCorp Vault 1.13 may answer 500 to a wrong password
    if answer.status == 500 and "invalid username or password" not in str(answer.body.get("errors")):
        raise HackspaceError(
            "trying the login ended with HTTP 500.",
            item=f"user {mount.path}/{entry.name}",
            rule="http-status",
            fix="see the server's log.",
            status=500,
        )
    token = (answer.body.get("auth") or {}).get("client_token")
    if answer.status != 200 or not token:
        return False
    once = client.clone()
    once.use_token(Secret(str(token)))
    once.request("POST", "auth/token/revoke-self", ok=(200, 204, 400, 403))
    client.requests += once.requests
    once.close()
    return True


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = mount_model.parse(with_secrets(module))
    with client_of(params) as client:
        present = read(client, wanted, everything=params["prune"])
        plan = mount_plan.plan(
            present,
            wanted,
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
        )
        mounts: t.Mapping[str, t.Mapping[str, t.Any]] = present.mounts
        if not module.check_mode:
            apply_plan(client, plan)
            if any(c.kind == mount_plan.KIND and c.action == "create" for c in plan.changes):
                mounts = mount_model.by_path(client.data("sys/auth") or {})
        accessors = {m.path: mounts[m.path].get("accessor") for m in wanted if m.path in mounts}
        return plan_result(module, plan, accessors=accessors, requests=client.requests)


if __name__ == "__main__":
    run(SPEC, main)
