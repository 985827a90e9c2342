# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the public keys of a JSON Web Key Set in PEM."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import InvalidInput
from ..module_utils._reviewers import jwks

DOCUMENTATION = r"""
name: jwks_to_pem
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The public keys of a JSON Web Key Set in PEM
description:
  - Turns a JSON Web Key Set, as C(/openid/v1/jwks) of a Kubernetes API server answers it, into public keys in PEM
    (C(BEGIN PUBLIC KEY)), as C(jwt_validation_pubkeys) of an OpenBao auth mount of type C(jwt) wants them.
  - Takes RSA keys of at least 2048 bits, EC keys on the curves P-256, P-384 and P-521, and Ed25519 keys.
  - Keys that are not for signatures (C(use) other than C(sig)) are left out, and so are repetitions. The order is by
    C(kid), whatever the order in the set.
  - A set with a private or a symmetric key is refused as a whole, and nothing of it is repeated in the error.
  - Works offline and needs no further package.
positional: _input
options:
  _input:
    description: The key set, as a mapping or as JSON text.
    type: raw
    required: true
  details:
    description: Return mappings with O(_input)'s C(kid) and more instead of the PEM texts alone.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ask a cluster for the keys that its service account tokens are signed with
  ansible.builtin.command: kubectl --context member-prod get --raw /openid/v1/jwks
  changed_when: false
  check_mode: false
  register: member_jwks

- name: Show them in PEM
  ansible.builtin.debug:
    msg: "{{ member_jwks.stdout | hackspace.infra.jwks_to_pem }}"

- name: Show which keys these are
  ansible.builtin.debug:
    msg: "{{ member_jwks.stdout | hackspace.infra.jwks_to_pem(details=true) | map(attribute='kid') }}"
"""

RETURN = r"""
_value:
  description:
    - One PEM text per key, each with a newline at its end.
    - With O(details=true) mappings with C(kid), C(algorithm) (as V(RS256)), C(fingerprint) (first 12 hexadecimal digits
      of the SHA-256 of the key in DER) and C(pem).
  type: list
  elements: raw
"""


def jwks_to_pem(key_set: t.Any, details: bool = False) -> list[t.Any]:
    """Return the public keys; see DOCUMENTATION."""
    document = key_set
    if isinstance(key_set, t.Mapping):
        keys = key_set.get("keys")
        listed = isinstance(keys, t.Sequence) and not isinstance(keys, str | bytes)
        document = {"keys": [dict(k) if isinstance(k, t.Mapping) else k for k in keys or ()]} if listed else {}
    try:
        found = jwks.parse(document)
    except InvalidInput as error:
        raise AnsibleFilterError(f"jwks_to_pem: {error}") from None
    if details:
        return [
            {"kid": key.kid, "algorithm": key.algorithm, "fingerprint": key.fingerprint, "pem": key.pem}
            for key in found
        ]
    return [key.pem for key in found]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"jwks_to_pem": jwks_to_pem}
