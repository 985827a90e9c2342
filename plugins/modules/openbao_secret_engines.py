#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_secret_engines
short_description: Keeps a list of secret engines, and what lies in them, as wanted
version_added: 0.1.0
description:
  - Takes the whole list, reads all mounts with one request, and writes what differs. What is left out of
    O(engines[].config)
    is at the server's default.
  - Marks what it makes by C([hackspace.infra]) at the end of the description. A secret engine without it is not ours;
    if it differs
    from what is wanted, the module shows it in RV(foreign) and refuses to write anything until O(adopt=true).
  - Type, O(engines[].local) and O(engines[].seal_wrap) of an engine that exists cannot be changed and are refused.
  - Transit keys, certificate authorities, PKI roles, database connections and their roles come with their engine, and
    belong to whom the engine belongs. Of them only fields that are declared are compared, and only what differs is
    written.
  - Private keys are made in OpenBao and never leave it. A certificate authority that exists is never made anew.
  - A secret engine is disabled only with O(prune=true) and O(allow_data_loss=true).
    V(sys), V(identity) and V(cubbyhole) are never touched.
options:
  engines:
    description: The wanted secret engines.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the mount.
        type: str
        required: true
      type:
        description: Type of the engine, such as V(kv), V(transit), V(pki), V(database).
        type: str
        required: true
      description:
        description: Description without the mark. Left as it is if not given.
        type: str
      options:
        description: Options of the engine; only those given are compared. V(kv) takes V(version), V("1") by default.
        type: dict
      config:
        description: Settings of the mount. What is left out is at its default.
        type: dict
        suboptions:
          default_lease_ttl:
            description: Default lifetime of leases, such as V(1h). The server's default if left out.
            type: str
          max_lease_ttl:
            description: Greatest lifetime of leases. The server's default if left out.
            type: str
          audit_non_hmac_request_keys:
            description: Keys of requests that audit logs show in clear.
            type: list
            elements: str
          audit_non_hmac_response_keys:
            description: Keys of answers that audit logs show in clear.
            type: list
            elements: str
          listing_visibility:
            description: Whether the user interface shows the mount before login. V(hidden) by default.
            type: str
            choices: [hidden, unauth]
          passthrough_request_headers:
            description: Headers of requests that are passed to the engine.
            type: list
            elements: str
          allowed_response_headers:
            description: Headers that the engine may add to answers.
            type: list
            elements: str
      engine_config:
        description: >-
          Configuration of a V(kv) engine of version 2. Left alone if not given; what is left out of it is at its
          default.
        type: dict
        suboptions:
          max_versions:
            description: Number of versions to keep. V(0) is the server's default.
            type: int
          cas_required:
            description: Writes must name the version they replace.
            type: bool
          delete_version_after:
            description: Lifetime of versions, such as V(720h). V(0) is for ever.
            type: str
      local:
        description: Not replicated. Cannot be changed later.
        type: bool
        default: false
      seal_wrap:
        description: Wrap critical values by the seal. Cannot be changed later.
        type: bool
        default: false
      upgrade_kv:
        description:
          - Allow the upgrade of a V(kv) engine from version 1 to 2, which changes the paths of everything in it and
            cannot be undone.
        type: bool
        default: false
      transit_keys:
        description:
          - Keys of a V(transit) engine, each with C(name). Left alone if not given. They cannot be exported.
          - C(type) (V(aes256-gcm96) by default), C(derived) and C(convergent_encryption) are given once and cannot be
            changed. C(auto_rotate_period), C(min_decryption_version), C(min_encryption_version) and
            C(deletion_allowed) can.
          - C(rotated_after) is a moment such as V(2027-01-31T12:00:00Z). A key whose newest version is older is
            rotated, once.
          - With O(prune=true) and O(allow_data_loss=true) keys that are not in the list are deleted, except those whose
            C(deletion_allowed) is false.
        type: list
        elements: dict
      pki:
        description: What a V(pki) engine has. Each part is left alone if not given.
        type: dict
        suboptions:
          ca:
            description:
              - The certificate authority. It is made if the engine has none. Of one that exists the common name and
                whether it is a root are compared, and O(engines[].pki.ca.issuer_name) is set.
            type: dict
            suboptions:
              type:
                description: >-
                  A V(root) signs itself. An V(intermediate) is signed by another engine, or by somebody outside who
                  gets the request in RV(pki[].csr).
                type: str
                choices: [root, intermediate]
                required: true
              common_name:
                description: Name of the authority.
                type: str
                required: true
              issuer_name:
                description: Name of the issuer in the engine.
                type: str
              ttl:
                description: >-
                  How long it lives, such as V(87600h). Not for one that is signed outside. C(config.max_lease_ttl) of
                  the engine must be as long.
                type: str
              key_type:
                description: Type of a new key. V(ec) if left out.
                type: str
                choices: [rsa, ec, ed25519]
              key_bits:
                description: Bits of a new key. The server's default for its type if left out.
                type: int
              max_path_length:
                description: Authorities that may be below it. Any number if left out.
                type: int
              permitted_dns_domains:
                description: The only domains for which it may sign.
                type: list
                elements: str
              organization:
                description: Organisations in its name.
                type: list
                elements: str
              ou:
                description: Organisational units in its name.
                type: list
                elements: str
              country:
                description: Countries in its name.
                type: list
                elements: str
              locality:
                description: Places in its name.
                type: list
                elements: str
              province:
                description: Provinces in its name.
                type: list
                elements: str
              signed_by:
                description: Path of the PKI engine of this server that signs it. May be in the same list.
                type: str
              certificate:
                description: >-
                  What somebody outside has signed, as PEM text, the authority's own certificate first, then those above
                  it.
                type: str
              warn_before:
                description: Time before its end from which on every run warns.
                type: str
                default: 720h
          default_issuer:
            description: Name or id of the issuer that signs where none is named. Must exist.
            type: str
          urls:
            description: >-
              Addresses that go into certificates: C(issuing_certificates), C(crl_distribution_points), C(ocsp_servers),
              C(enable_templating).
            type: dict
          crl:
            description: >-
              Revocation lists: C(expiry), C(disable), C(ocsp_disable), C(ocsp_expiry), C(auto_rebuild),
              C(auto_rebuild_grace_period), C(enable_delta), C(delta_rebuild_interval).
            type: dict
          tidy:
            description: >-
              Automatic tidying: C(enabled), C(interval_duration), C(tidy_cert_store), C(tidy_revoked_certs),
              C(tidy_revoked_cert_issuer_associations), C(tidy_expired_issuers), C(issuer_safety_buffer),
              C(safety_buffer), C(pause_duration).
            type: dict
          roles:
            description:
              - Roles, each with C(name) and fields of the server such as C(allowed_domains), C(allow_subdomains),
                C(allow_bare_domains), C(allow_ip_sans), C(ttl), C(max_ttl), C(key_type), C(key_bits), C(server_flag),
                C(client_flag), C(issuer_ref), C(no_store). What is not declared stays as it is.
            type: list
            elements: dict
      database:
        description: What a V(database) engine has. Each list is left alone if not given.
        type: dict
        suboptions:
          connections:
            description: Databases, and as whom OpenBao logs in there.
            type: list
            elements: dict
            suboptions:
              name:
                description: Name, to which roles refer by C(db_name).
                type: str
                required: true
              plugin_name:
                description: Plugin of the database.
                type: str
                default: postgresql-database-plugin
              connection_url:
                description: >-
                  Address with C({{username}}:{{password}}) in it, to be tagged C(!unsafe) in YAML. A password in it is
                  refused.
                type: str
                required: true
              username:
                description: Database user of OpenBao's own. It needs the right to change the passwords of others.
                type: str
              password:
                description: Its password. Needed when the connection is made, and when C(username) changes.
                type: str
              password_file:
                description: >-
                  File with the password, mode 0600; may be encrypted by ansible-vault or sops. Alternative to
                  O(engines[].database.connections[].password).
                type: path
              rotate_root:
                description: >-
                  Let OpenBao replace the password as soon as the connection is made, so that nobody knows it. No role
                  can use the connection before that, and an interrupted run is finished by the next one. The same when
                  C(username) changes; otherwise without effect on a connection that exists.
                type: bool
                default: false
              update_password:
                description: >-
                  V(on_create) sends the password when the connection is made. V(always) sends it in every run, which is
                  always a change, as OpenBao never shows it.
                type: str
                choices: [on_create, always]
                default: on_create
              allowed_roles:
                description: >-
                  Names of roles that may use it, also patterns with C(*). Those of the declared roles that refer to it
                  if left out, and those that the server has where not both lists of roles are declared.
                type: list
                elements: str
              verify_connection:
                description: Whether OpenBao logs in when the connection is written.
                type: bool
                default: true
              root_rotation_statements:
                description: Statements that change OpenBao's own password. The plugin's if left out.
                type: list
                elements: str
              password_policy:
                description: Name of the password policy by which passwords are made.
                type: str
              username_template:
                description: Template of the names of dynamic users.
                type: str
              max_open_connections:
                description: Most connections at once.
                type: int
              max_idle_connections:
                description: Most connections that are kept open without use.
                type: int
              max_connection_lifetime:
                description: Longest life of a connection, such as V(5m).
                type: str
          static_roles:
            description:
              - Database users whose password OpenBao rotates, each with C(name), C(db_name), C(username) and
                C(rotation_period), and optionally C(rotation_statements), C(credential_type), C(credential_config).
              - The database user must exist. Its password is replaced when the role is made.
              - C(rotated_after) is a moment such as V(2027-01-31T12:00:00Z). A password that was rotated before it is
                rotated, once.
            type: list
            elements: dict
          roles:
            description: >-
              Dynamic roles, each with C(name), C(db_name) and C(creation_statements), and optionally
              C(revocation_statements), C(rollback_statements), C(renew_statements), C(default_ttl), C(max_ttl),
              C(credential_type), C(credential_config).
            type: list
            elements: dict
  allow_data_loss:
    description: >-
      With O(prune=true), disable secret engines that are ours and not in the list, with everything in them, and delete
      keys, roles and connections that are not in the lists of engines of ours.
    type: bool
    default: false
attributes:
  check_mode:
    details: Reads only. The request of an authority that waits for somebody outside is not shown.
  idempotent:
    details: Not with O(engines[].database.connections[].update_password=always).
seealso:
  - module: hackspace.infra.openbao_policies
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.ownership
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Keep a key/value engine that remembers ten versions, and a transit engine
  hackspace.infra.openbao_secret_engines:
    url: https://192.0.2.10:8200
    ca_cert: /etc/openbao/ca.pem
    auth_method: userpass
    username: platform-admin
    password_file: ~/.config/platform-admin
    engines:
      - path: kv
        type: kv
        description: OpenBao secrets of tenants
        options: {version: "2"}
        engine_config: {max_versions: 10}
      - path: transit
        type: transit
        transit_keys:
          - name: member-prod.4-aux-alice
            auto_rotate_period: 720h

- name: Keep a root that signs an intermediate, and a role for the platform's own servers
  hackspace.infra.openbao_secret_engines:
    url: https://192.0.2.10:8200
    ca_cert: /etc/openbao/ca.pem
    token_path: ~/.vault-token
    engines:
      - path: pki-root
        type: pki
        config: {max_lease_ttl: 87600h}
        pki:
          ca: {type: root, common_name: Hackspace root, issuer_name: root-2026, ttl: 87600h}
      - path: pki
        type: pki
        config: {max_lease_ttl: 43800h}
        pki:
          ca: {type: intermediate, common_name: Hackspace servers, signed_by: pki-root, ttl: 43800h}
          tidy: {enabled: true, tidy_cert_store: true}
          roles:
            - name: servers
              allowed_domains: [example.org]
              allow_subdomains: true
              ttl: 720h

- name: Let OpenBao rotate a tenant's database password every day
  hackspace.infra.openbao_secret_engines:
    url: https://192.0.2.10:8200
    ca_cert: /etc/openbao/ca.pem
    token_path: ~/.vault-token
    engines:
      - path: database
        type: database
        database:
          connections:
            - name: tenants
              connection_url: !unsafe "postgresql://{{username}}:{{password}}@db.example.org:5432/postgres?sslmode=verify-full"
              username: openbao
              password_file: secrets/postgres-openbao.vault
              rotate_root: true
          static_roles:
            - name: member-prod.4-aux-alice.app
              db_name: tenants
              username: alice_app
              rotation_period: 24h
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: dict
unchanged:
  description: Number of wanted secret engines that are as wanted.
  returned: success
  type: int
foreign:
  description: Wanted secret engines that exist and are not marked as ours.
  returned: success or when refused
  type: list
  elements: str
pki:
  description: The wanted certificate authorities, as they are after the run.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path of the engine.
      returned: success
      type: str
    common_name:
      description: Name of the authority.
      returned: success
      type: str
    state:
      description: >-
        V(ok), V(expires_soon), V(expired), V(waiting_for_certificate) of somebody outside, or V(planned) in check mode.
      returned: success
      type: str
    csr:
      description: Certificate request for somebody outside to sign; empty in check mode.
      returned: when there is no certificate
      type: str
    issuer:
      description: Common name of who signed it.
      returned: when there is a certificate
      type: str
    not_after:
      description: Its end.
      returned: when there is a certificate
      type: str
    days_left:
      description: Days until then.
      returned: when there is a certificate
      type: int
    fingerprint:
      description: First 12 hexadecimal digits of its SHA-256.
      returned: when there is a certificate
      type: str
    certificate:
      description: The certificate.
      returned: when there is a certificate
      type: str
requests:
  description: Number of requests sent, without the one that ends the login.
  returned: success
  type: int
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    CONNECTION_SPEC,
    OpenBao,
    client_of,
    read_private_file,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_fetch import fetch
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    hide,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import engine_plan, pki_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.config_apply import apply_plan, wait_upgrade
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.engine_entries import Seen
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.mount_model import by_path

_CONNECTION: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "plugin_name": {"type": "str", "default": "postgresql-database-plugin"},
    "connection_url": {"type": "str", "required": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "password_file": {"type": "path", "no_log": False},
    "rotate_root": {"type": "bool", "default": False},
    "update_password": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    "allowed_roles": {"type": "list", "elements": "str"},
    "verify_connection": {"type": "bool", "default": True},
    "root_rotation_statements": {"type": "list", "elements": "str"},
    "password_policy": {"type": "str", "no_log": False},
    "username_template": {"type": "str"},
    "max_open_connections": {"type": "int"},
    "max_idle_connections": {"type": "int"},
    "max_connection_lifetime": {"type": "str"},
}
_PKI: dict[str, t.Any] = {
    "ca": {
        "type": "dict",
        "options": {
            "type": {"type": "str", "choices": ["root", "intermediate"], "required": True},
            "common_name": {"type": "str", "required": True},
            "issuer_name": {"type": "str"},
            "ttl": {"type": "str"},
            "key_type": {"type": "str", "choices": list(pki_plan.KEY_TYPES), "no_log": False},
            "key_bits": {"type": "int", "no_log": False},
            "max_path_length": {"type": "int"},
            "permitted_dns_domains": {"type": "list", "elements": "str"},
            "organization": {"type": "list", "elements": "str"},
            "ou": {"type": "list", "elements": "str"},
            "country": {"type": "list", "elements": "str"},
            "locality": {"type": "list", "elements": "str"},
            "province": {"type": "list", "elements": "str"},
            "signed_by": {"type": "str"},
            "certificate": {"type": "str"},
            "warn_before": {"type": "str", "default": "720h"},
        },
    },
    "default_issuer": {"type": "str"},
    "urls": {"type": "dict"},
    "crl": {"type": "dict"},
    "tidy": {"type": "dict"},
    "roles": {"type": "list", "elements": "dict"},
}
_DATABASE: dict[str, t.Any] = {
    "connections": {
        "type": "list",
        "elements": "dict",
        "mutually_exclusive": [["password", "password_file"]],
        "options": _CONNECTION,
    },
    "static_roles": {"type": "list", "elements": "dict"},
    "roles": {"type": "list", "elements": "dict"},
}

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "engines": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "type": {"type": "str", "required": True},
                    "description": {"type": "str"},
                    "options": {"type": "dict"},
                    "config": {
                        "type": "dict",
                        "options": {
                            "default_lease_ttl": {"type": "str"},
                            "max_lease_ttl": {"type": "str"},
                            "audit_non_hmac_request_keys": {"type": "list", "elements": "str", "no_log": False},
                            "audit_non_hmac_response_keys": {"type": "list", "elements": "str", "no_log": False},
                            "listing_visibility": {"type": "str", "choices": ["hidden", "unauth"]},
                            "passthrough_request_headers": {"type": "list", "elements": "str", "no_log": False},
                            "allowed_response_headers": {"type": "list", "elements": "str"},
                        },
                    },
                    "engine_config": {
                        "type": "dict",
                        "options": {
                            "max_versions": {"type": "int"},
                            "cas_required": {"type": "bool"},
                            "delete_version_after": {"type": "str"},
                        },
                    },
                    "local": {"type": "bool", "default": False},
                    "seal_wrap": {"type": "bool", "default": False},
                    "upgrade_kv": {"type": "bool", "default": False},
                    "transit_keys": {"type": "list", "elements": "dict", "no_log": False},
                    "pki": {"type": "dict", "options": _PKI},
                    "database": {"type": "dict", "options": _DATABASE},
                },
            },
            "allow_data_loss": {"type": "bool", "default": False},
        }
    )
)


def with_secrets(module: AnsibleModule) -> list[dict[str, t.Any]]:
    """Return the list with the contents of password files in place of their names."""
    engines = [dict(raw) for raw in module.params["engines"]]
    for number, engine in enumerate(engines):
        database = dict(engine.get("database") or {})
        if not database.get("connections"):
            continue
        filled = []
        for index, raw in enumerate(database["connections"]):
            connection = dict(raw)
            if connection.get("password_file"):
                item = f"engines[{number}].database.connections[{index}].password_file"
                connection["password"] = read_private_file(connection["password_file"], item=item).reveal()
            hide(module, connection.get("password"))
            filled.append(connection)
        engine["database"] = {**database, "connections": filled}
    return engines


def read(
    client: OpenBao, wanted: t.Sequence[engine_plan.Engine], *, prune: bool = False, ask: bool = False
) -> engine_plan.Present:
    """Return all mounts, the configuration of the kv engines whose configuration is wanted, and wanted content.

    :param prune: also what pruning has to know.
    :param ask: ask engines that wait for a certificate for their request once more, which changes nothing in them.
    """
    mounts = by_path(client.data("sys/mounts") or {})

    def config(one: OpenBao, path: str) -> dict[str, t.Any] | None:
        body = wait_upgrade(lambda ok: one.request("GET", path, ok=(*ok, 404)), path)
        inner = body.get("data")
        return inner if isinstance(inner, dict) else None

    configured = {
        e.config_path: e.path
        for e in wanted
        if e.config is not None
        and e.path in mounts
        and mounts[e.path].get("type") == "kv"
        and engine_plan.kv_version(mounts[e.path]) == "2"
    }
    answers = fetch(client, config, list(configured))
    lists = fetch(client, lambda c, path: c.keys(path), engine_plan.lists(wanted, mounts))
    details = fetch(client, _detail, engine_plan.details(wanted, mounts, lists, prune=prune))
    requests: dict[str, str] = {}
    for path, authority in _authorities(wanted):
        if ask and authority.certificate and lists.get(f"{path}/keys") and not lists.get(f"{path}/issuers"):
            requests[path] = _request(client, path, authority)
    return engine_plan.Present(mounts, {configured[k]: v for k, v in answers.items()}, Seen(lists, details), requests)


def _detail(client: OpenBao, path: str) -> dict[str, t.Any] | None:
    # the server answers 500 where an issuer does not exist, and 404 elsewhere
    missing = (404, 500) if "/issuer/" in path else (404,)
    return client.data(path, missing=missing)


def _authorities(wanted: t.Sequence[engine_plan.Engine]) -> list[tuple[str, pki_plan.Authority]]:
    return [
        (e.path, e.content.authority) for e in wanted if isinstance(e.content, pki_plan.Pki) and e.content.authority
    ]


def _request(client: OpenBao, path: str, authority: pki_plan.Authority) -> str:
    where, body = pki_plan.again(path, authority)
    return str((client.request("POST", where, body).body.get("data") or {}).get("csr") or "").strip()


def authorities(
    client: OpenBao,
    wanted: t.Sequence[engine_plan.Engine],
    present: engine_plan.Present,
    *,
    changed: t.Collection[str],
    check_mode: bool,
    now: datetime.datetime,
) -> list[dict[str, t.Any]]:
    """Return what there is to know of the wanted certificate authorities, as they are now."""
    found = []
    for path, authority in _authorities(wanted):
        where = f"{path}/issuer/default"
        answer = present.seen.answers.get(where)
        if path in changed and not check_mode:
            answer = _detail(client, where)
        pem = str((answer or {}).get("certificate") or "")
        waits = not pem and not authority.root and not authority.signed_by and not authority.certificate
        csr = _request(client, path, authority) if waits and not check_mode else ""
        found.append(pki_plan.report(path, authority, pem, csr, now))
    return found


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = engine_plan.parse(with_secrets(module))
    now = datetime.datetime.now(datetime.UTC)
    with client_of(params) as client:
        present = read(client, wanted, prune=params["prune"], ask=not module.check_mode)
        plan = engine_plan.plan(
            present,
            wanted,
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
            allow_data_loss=params["allow_data_loss"],
            now=now,
        )
        if not module.check_mode:
            apply_plan(client, plan)
        changed = {c.name for c in plan.changes}
        pki = authorities(client, wanted, present, changed=changed, check_mode=module.check_mode, now=now)
        return plan_result(module, plan, pki=pki, requests=client.requests)


if __name__ == "__main__":
    run(SPEC, main)
