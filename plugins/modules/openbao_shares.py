#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_shares
version_added: 0.1.0
short_description: Who holds which unseal share, and whether it is still there
description:
  - Keeps the public record C(shares.json) of who holds the unseal shares, with a fingerprint of each and the day on
    which its holder last showed it. No share is sent anywhere.
  - C(report) says who holds what and what is not well. C(verify) compares holders' shares with the record,
    offline, and
    dates them. C(adopt) makes the record for an OpenBao that others initialised, one holder at a time.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._openbao_seal.tls
attributes:
  check_mode:
    details: Reads no share and writes nothing.
  idempotent:
    details: A share that was shown on the same day is not dated again.
requirements:
  - requests, with O(nodes)
options:
  do:
    description: What to do.
    type: str
    choices: [report, verify, adopt]
    default: report
  shares_dir:
    description: Folder on the controller with the record and, as a rule, the share files. Mode 0700.
    type: path
    required: true
  holders:
    description:
      - Whose shares to compare or to learn. A holder without a source is asked on the terminal, without echo.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The holder's name.
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
        description: File with the age identity, mode 0600.
        type: path
      pgp_file:
        description: File with the share as PGP message, decrypted by C(gpg) of the user who runs Ansible.
        type: path
      command:
        description: Program and arguments that print the share. It must not have the share as an argument.
        type: list
        elements: str
  known_holders:
    description:
      - The people who are there. For V(report), holders in the record who are not among them have departed. For
        V(adopt),
        those who hold a share.
      - Not given, nobody has departed.
    type: list
    elements: str
  verify_days:
    description: After how many days a holder should show the share again.
    type: int
    default: 180
  nodes:
    description: Servers to ask, one after the other, how many shares there are. Needed to begin V(adopt).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name for messages.
        type: str
        required: true
      url:
        description: C(https://address:port) without a path.
        type: str
        required: true
      tls_server_name:
        description: Name to expect in the server's certificate, if it is not the host of O(nodes[].url).
        type: str
seealso:
  - module: hackspace.infra.openbao_share_rotation
author:
  - hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Say who holds what and what is not well
  hackspace.infra.openbao_shares:
    shares_dir: /srv/shares
    known_holders: [ada, bob, cyd]

- name: Ada shows that her share is there, offline
  hackspace.infra.openbao_shares:
    do: verify
    shares_dir: /srv/shares
    holders:
      - {name: ada, age_file: /srv/shares/ada.age, age_identity_file: ~/.config/age/ada.txt}

- name: Take over an OpenBao that somebody initialised long ago
  hackspace.infra.openbao_shares:
    do: adopt
    shares_dir: /srv/shares
    known_holders: [ada, bob, cyd]
    nodes:
      - {name: openbao-0, url: "https://192.0.2.10:8200", tls_server_name: openbao-0.example.org}
    ca_cert: /etc/ssl/site-ca.pem
    holders:
      - name: ada # asked on the terminal; the others on other days
"""

RETURN = r"""
holders:
  description: Per holder file, recipient, fingerprint, when it was last shown, and whether the holder has departed.
  returned: success
  type: list
  elements: dict
findings:
  description: What is not well, worst first, with severity (C(critical), C(warning), C(info)), rule, what and fix.
  returned: success
  type: list
  elements: dict
generation:
  description: The generation in force; empty without a record.
  returned: success
  type: str
threshold:
  description: Shares that unseal; 0 without a record.
  returned: success
  type: int
rotation:
  description: State of new shares under way; empty if none are.
  returned: success
  type: str
summary:
  description: Lines for a person.
  returned: success
  type: list
  elements: str
changes:
  description: What was written to the record, or would be in check mode.
  returned: success
  type: list
  elements: dict
"""

import os
import secrets
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao_seal import (
    SEAL_SPEC,
    SealClient,
    connections_of,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core import private_files
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    ArgumentSpec,
    hide,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import custody, rotation_model, share_record
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.share_options import sources

SPEC = ArgumentSpec(
    options={
        **SEAL_SPEC.options,
        "nodes": {**SEAL_SPEC.options["nodes"], "required": False, "default": []},
        "do": {"type": "str", "choices": ["report", "verify", "adopt"], "default": "report"},
        "shares_dir": {"type": "path", "required": True},
        "holders": sources(),
        "known_holders": {"type": "list", "elements": "str"},
        "verify_days": {"type": "int", "default": 180},
    }
)


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    params: dict[str, t.Any] = dict(module.params)
    hide(module, *(entry["share"] for entry in params["holders"]))
    folder = os.path.abspath(params["shares_dir"])
    record = share_record.read(folder)
    older = share_record.older(folder)
    server = _server(module, params)
    present = share_record.now()
    plan = Plan()
    if params["do"] != "report":
        private_files.check_private_folder(folder, item="shares_dir")
        rotation_model.check_names(
            params["holders"],
            record.holders if record and params["do"] == "verify" else (),
            item="holders",
            whose="the present shares",
        )
        given = [] if module.check_mode else rotation_model.given_shares(params["holders"], item="holders")
        if params["do"] == "verify":
            after, plan = custody.verify(record, older, given, present)
        else:
            names = params["known_holders"] or []
            generation = secrets.token_hex(8)
            after, plan = custody.adopt(record, older, server, names, given, present=present, generation=generation)
        record = after
        if plan.changed and not module.check_mode:
            share_record.write(folder, after)
    else:
        plan.unchanged = len(record.holders) if record else 0
    known = params["known_holders"]
    settings = custody.Settings(None if known is None else tuple(known), present, params["verify_days"])
    missing = (
        [e.file for e in record.holders if e.file and not os.path.isfile(os.path.join(folder, e.file))]
        if record
        else []
    )
    found = custody.findings(record, server, settings, missing)
    people = custody.holders(record, settings, missing) if record else []
    return plan_result(
        module,
        plan,
        holders=people,
        findings=[f.report() for f in found],
        generation=record.generation if record else "",
        threshold=record.threshold if record else 0,
        rotation=record.rotation.state if record and record.rotation else "",
        summary=_summary(record, people, found),
    )


def _server(module: AnsibleModule, params: t.Mapping[str, t.Any]) -> custody.Server:
    """Ask the first node that answers and is initialised how many shares there are."""
    problem: HackspaceError | None = None
    for connection in connections_of(params).values() if params["nodes"] else ():
        client = SealClient(connection)
        reading = client.status()
        client.close()
        problem = problem or reading.error
        status = reading.status or {}
        if status.get("initialized"):
            return custody.Server(
                shares=int(status.get("n") or 0),
                threshold=int(status.get("t") or 0),
                kind="recovery" if status.get("recovery_seal") else "unseal",
                cluster_id=str(status.get("cluster_id") or ""),
            )
    if problem and params["do"] == "adopt":
        raise problem
    if problem:
        module.warn(f"the server was not asked: {problem.message}")
    return custody.Server()


def _summary(
    record: share_record.Record | None, people: list[dict[str, t.Any]], found: list[custody.Finding]
) -> list[str]:
    lines = []
    if record:
        lines.append(f"generation {record.generation}: {record.threshold} of {record.shares} {record.kind} shares")
    for one in people:
        words = one["verified_at"][:10] or "never"
        gone = ", departed" if one["departed"] else ""
        lines.append(f"{one['holder']}: fingerprint {one['fingerprint'] or 'not known'}, shown {words}{gone}")
    lines += [f"{f.severity}: {f.what}. {f.fix}" for f in found]
    return lines


if __name__ == "__main__":
    run(SPEC, main)
