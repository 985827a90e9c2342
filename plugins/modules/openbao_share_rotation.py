#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_share_rotation
version_added: 0.1.0
short_description: Make new unseal shares for a new set of holders
description:
  - Makes new shares when the holders, their keys or the threshold differ from the record C(shares.json) in
    O(output_dir), and does nothing otherwise. Present shares stay valid until the new ones are verified. OpenBao
    goes on
    working meanwhile.
  - Holders give their present shares in one run or in several, one after the other. An interrupted run is run
    again, and
    goes on where it was.
  - Every new share is encrypted to its holder and in its file, read back, before it comes into force. Files and
    record
    of the generation before are kept in C(generations/), as its shares open snapshots of that time.
  - Uses C(sys/rotate/root) (C(sys/rotate/recovery) with a seal that unseals by itself) from OpenBao 2.4 on, and
    C(sys/rekey) on older servers. C(POST sys/rotate/root) itself, which loses all shares on some versions, is
    never sent.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_openbao
  - hackspace.infra._openbao
attributes:
  check_mode:
    details: Asks the server how far an attempt is; sends no share, begins no attempt and writes nothing.
  idempotent:
    details: New shares are made once for a change of holders. While it is under way, each run goes on with it.
requirements:
  - pyrage, for O(holders[].age_recipient)
  - gpg, for O(holders[].pgp_public_key_file)
options:
  holders:
    description: The people who are to keep the shares from now on, one share each, in the order of the shares.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the person; also the name of the share file.
        type: str
        required: true
      age_recipient:
        description:
          - Their age recipient (C(age1...)) or SSH public key.
          - Give exactly one of this and O(holders[].pgp_public_key_file).
        type: str
      pgp_public_key_file:
        description: File on the controller with their PGP public key, armored or binary.
        type: path
  shares:
    description: Number of shares; as many as there are O(holders).
    type: int
    required: true
  threshold:
    description: Number of shares that unseal a node.
    type: int
    required: true
  single_share:
    description: Allow a threshold of 1 (with one share). One person alone can then unseal, and lose everything.
    type: bool
    default: false
  output_dir:
    description: Folder on the controller with the record and the share files, as M(hackspace.infra.openbao_init)
      leaves it.
    type: path
    required: true
  encrypt_on:
    description:
      - Where the new shares are encrypted. On the V(controller) they exist in clear in this process until they are in
        their files and verified.
      - With V(server) OpenBao encrypts them itself, for PGP holders only. Then each new holder gives the new share
        back to
        verify it (O(new_holders)), until the threshold is reached.
    type: str
    choices: [controller, server]
    default: controller
  current_holders:
    description:
      - Whose present shares to send. A holder without a source is asked on the terminal, without echo.
      - Nothing is read or asked when no present share is needed, nor in check mode.
    type: list
    elements: dict
    default: []
    suboptions: &share_sources
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
  new_holders:
    description:
      - Whose new shares to send while the new generation waits for verification. The files are in
        C(generations/<generation>/) of O(output_dir).
    type: list
    elements: dict
    default: []
    suboptions: *share_sources
  on_progress:
    description:
      - What to do when an attempt is under way. V(resume) goes on with it if it is the one in the record, V(reset)
        cancels
        it and begins again, V(fail) stops.
      - An attempt that the record does not know is cancelled with V(reset) only.
      - To give up, run with the present holders and V(reset).
    type: str
    choices: [resume, reset, fail]
    default: resume
  replace_generation:
    description: Make new shares although nothing differs, if this is the generation in force.
    type: str
  server_version:
    description: The server's version, needed for development builds, which report C(2.0.0-HEAD).
    type: str
seealso:
  - module: hackspace.infra.openbao_shares
  - module: hackspace.infra.openbao_init
author:
  - hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Dan takes the place of Bob; three of the present holders agree
  hackspace.infra.openbao_share_rotation:
    url: https://192.0.2.10:8200
    tls_server_name: openbao-0.example.org
    ca_cert: /etc/ssl/site-ca.pem
    auth_method: userpass
    username: platform-admin
    password_file: /srv/private/platform-admin.password
    output_dir: /srv/shares
    shares: 3
    threshold: 2
    holders:
      - {name: ada, age_recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p}
      - {name: cyd, age_recipient: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPKE+qWkNR5h0cyd cyd@example.org"}
      - {name: dan, pgp_public_key_file: keys/dan.asc}
    current_holders:
      - {name: ada, age_file: /srv/shares/ada.age, age_identity_file: ~/.config/age/ada.txt}
      - name: cyd # asked on the terminal; or tomorrow, in a run of his own
"""

RETURN = r"""
state:
  description: >-
    C(unchanged), C(collecting) (present shares are still needed), C(verifying) (new shares are needed), C(complete).
    In check mode as it is, not as it would be.
  returned: success
  type: str
phase:
  description: >-
    What this run was about, C(none), C(shares), C(verify), C(finish), or C(prove) (a run had died while the last new
    share was verified, and new shares tell which generation is in force).
  returned: success
  type: str
missing:
  description: Shares that are still needed; in check mode before the run.
  returned: success
  type: int
given:
  description: Holders whose shares the server had counted before this run.
  returned: success
  type: list
  elements: str
generation:
  description: The generation in force, as far as the record knows.
  returned: success
  type: str
next_generation:
  description: The generation under way; empty if none is.
  returned: success
  type: str
shares:
  description: Holder, file and fingerprint of each share in force, as the record has them.
  returned: success
  type: list
  elements: dict
encrypted_shares:
  description: >-
    The encrypted text of each new share by holder, when they were made in this run. Only the holder can read it.
  returned: success
  type: dict
summary:
  description: Lines for a person.
  returned: success
  type: list
  elements: str
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: dict
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import (
    CONNECTION_SPEC,
    OpenBao,
    connection_of,
    login_of,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    ArgumentSpec,
    hide,
    plan_result,
    program,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    rotation_apply,
    rotation_model,
    rotation_plan,
    share_record,
    versions,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.share_options import recipients, sources
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.shares import Share

SPEC = CONNECTION_SPEC.merge(
    ArgumentSpec(
        options={
            "holders": recipients(required=True),
            "shares": {"type": "int", "required": True},
            "threshold": {"type": "int", "required": True},
            "single_share": {"type": "bool", "default": False},
            "output_dir": {"type": "path", "required": True},
            "encrypt_on": {"type": "str", "choices": ["controller", "server"], "default": "controller"},
            "current_holders": sources(),
            "new_holders": sources(),
            "on_progress": {"type": "str", "choices": ["resume", "reset", "fail"], "default": "resume"},
            "replace_generation": {"type": "str"},
            "server_version": {"type": "str"},
        }
    )
)


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    params: dict[str, t.Any] = dict(module.params)
    for option in ("current_holders", "new_holders"):
        hide(module, *(entry["share"] for entry in params[option]))
    wanted = rotation_model.parse_wanted(params, program(module))
    record = share_record.read(wanted.output_dir)
    with OpenBao(connection_of(params), login_of(params)) as api:
        status = api.request("GET", "sys/seal-status", token=False).body
        version = versions.of(status, override=params["server_version"])
        server = rotation_apply.read_server(api, status, version)
        decision = rotation_plan.decide(record, wanted, server)
        if decision.phase != "none":
            rotation_apply.preflight(wanted, record, decision)
        _check_people(params, decision, wanted, record)
        option = "new_holders" if decision.phase in ("verify", "prove") else "current_holders"
        people = [e["name"] for e in params[option]] if decision.needed else []
        plan = rotation_plan.describe(decision, wanted, server, people)
        if version.openbao and version.bare_rotate_loses_shares and decision.phase != "none":
            plan.warnings.append(
                f"{version.title}: never call sys/rotate/root without a sub-path by hand, it loses all shares."
            )
        rotator = rotation_apply.Rotator(api, wanted, server, record, hide=lambda *v: hide(module, *v))
        rotator.missing = decision.needed
        if not module.check_mode:
            rotator.run(decision, _shares(params[option], decision, option))
            plan.warnings += rotator.warnings
    return plan_result(module, plan, **_result(decision, rotator))


def _check_people(
    params: t.Mapping[str, t.Any],
    decision: rotation_plan.Decision,
    wanted: rotation_model.Wanted,
    record: share_record.Record | None,
) -> None:
    """Refuse strangers among those whose shares this run wants; who has left by now may stand in the play."""
    if decision.phase == "shares":
        old = record.holders if record else ()
        rotation_model.check_names(params["current_holders"], old, item="current_holders", whose="the present shares")
    elif decision.phase in ("verify", "prove"):
        new = record.rotation.holders if record and record.rotation else wanted.entries()
        rotation_model.check_names(params["new_holders"], new, item="new_holders", whose="the new shares")


def _shares(entries: list[dict[str, t.Any]], decision: rotation_plan.Decision, option: str) -> list[Share]:
    """Return the shares of this run, as far as the phase wants any."""
    if not decision.needed:
        return []
    entries = [e for e in entries if e["name"] not in decision.given]
    found = rotation_model.given_shares(entries, item=option)
    if decision.phase == "prove" and len(found) < decision.needed:
        raise rotation_plan.too_few(len(found), decision, item=option)
    return found


def _result(decision: rotation_plan.Decision, rotator: rotation_apply.Rotator) -> dict[str, t.Any]:
    record = rotator.record
    rotation = record.rotation if record else None
    if rotation:
        state = "verifying" if rotation.state in ("handed-out", "verifying", "verified") else "collecting"
    else:
        state = "complete" if rotator.finished else "unchanged"
    current = record if record and record.state != "unknown" else None
    return {
        "state": state,
        "phase": decision.phase,
        "missing": rotator.missing,
        "given": list(decision.given),
        "generation": current.generation if current else "",
        "next_generation": rotation.generation if rotation else "",
        "shares": [
            {
                "holder": e.holder,
                "file": os.path.join(rotator.folder, e.file) if e.file else "",
                "fingerprint": e.fingerprint,
            }
            for e in (current.holders if current else ())
        ],
        "encrypted_shares": dict(rotator.encrypted),
        "summary": _summary(state, decision, rotator),
    }


def _summary(state: str, decision: rotation_plan.Decision, rotator: rotation_apply.Rotator) -> list[str]:
    rotation = rotator.record.rotation if rotator.record else None
    lines = [f"{decision.phase}: {decision.why}"] if decision.phase != "none" else [decision.why]
    if state == "complete" and rotator.record:
        lines.append(f"generation {rotator.record.generation} is in force; the shares before it open snapshots only.")
    elif state == "collecting" and rotation:
        who = [e.holder for e in rotator.record.holders if e.holder not in rotation.given] if rotator.record else []
        lines.append(f"still needed: {rotator.missing} present share(s){' of ' + ', '.join(who) if who else ''}")
    elif state == "verifying" and rotation:
        who = [e.holder for e in rotation.holders if not e.verified_at]
        lines.append(f"still needed: {rotator.missing} new share(s) of {', '.join(who)}, to verify")
        lines.append(f"new share files: {share_record.generation_folder(rotator.folder, rotation.generation)}")
    return lines


if __name__ == "__main__":
    run(SPEC, main)
