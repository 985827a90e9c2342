# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the seal stanza of an OpenBao server's configuration."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import InvalidInput
from ..module_utils._openbao import migration_model

DOCUMENTATION = r"""
name: seal_stanza
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The seal stanza of an OpenBao server's configuration
description:
  - Writes a configuration file that has nothing but the C(seal) stanza, for the folder that the server is started with
    (C(-config=FOLDER)).
  - Takes the description of a seal as M(hackspace.infra.openbao_seal_migration) does, and checks it. Nothing, or an
    empty mapping, is Shamir and gives a file without a stanza.
positional: _input
options:
  _input:
    description: The seal, as the option O(hackspace.infra.openbao_seal_migration#module:seal).
    type: raw
    required: true
  disabled:
    description: The seal is on its way out. The server still needs it, to read what was sealed with it.
    type: bool
    default: false
  credential:
    description:
      - The token of a transit seal, or the key of a static seal. White space round it is left out.
      - Use it only in a task with C(no_log), that writes the result to a file of mode 0600.
    type: str
    default: ""
  format:
    description: V(json) or V(hcl). OpenBao tells them apart by the name of the file.
    type: str
    choices: [json, hcl]
    default: json
"""

EXAMPLES = r"""
- name: Write the stanza
  ansible.builtin.copy:
    content: "{{ seal | hackspace.infra.seal_stanza(credential=lookup('ansible.builtin.unvault', token_file)) }}"
    dest: /etc/openbao/seal.json
    owner: openbao
    group: openbao
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""


def seal_stanza(value: t.Any, disabled: bool = False, credential: t.Any = "", format: str = "json") -> str:
    """Return the text of a configuration file with the seal stanza."""
    try:
        if not value:
            return migration_model.render({}, format)
        if not isinstance(value, t.Mapping):
            raise InvalidInput("is no mapping.", item="seal", rule="type", fix="{type: transit, address, key_name}.")
        given = {k: v for k, v in value.items() if k not in ("credential", "credential_file")}
        seal = migration_model.parse_seal(given)
        text = credential.decode() if isinstance(credential, bytes) else str(credential or "")
        content = migration_model.stanza(seal, disabled=bool(disabled), credential=text.strip())
        return migration_model.render(content, format)
    except InvalidInput as error:
        raise AnsibleFilterError(f"seal_stanza: {error}") from None


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"seal_stanza": seal_stanza}
