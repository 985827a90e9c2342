# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what a service account token says about itself."""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import InvalidInput
from ..module_utils._reviewers import claims

DOCUMENTATION = r"""
name: jwt_claims
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: What a service account token says about itself
description:
  - Decodes the header and the claims of a JSON Web Token, with names for what Kubernetes puts into it.
  - B(Verifies nothing). Neither the signature nor the times are checked, so anybody can have written what is returned.
    Use it to explain a login that fails, never to decide what somebody may do.
  - Returns public claims only. The token itself opens what it is for, and is neither returned nor repeated in an
    error; keep tasks that handle it under C(no_log).
  - Works offline and needs no further package.
positional: _input
options:
  _input:
    description: The token, three parts with dots between them.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Read a token and say when it expires and who may take it
  ansible.builtin.debug:
    msg: "Expires {{ claims.expires_at }}, for {{ claims.audiences | join(', ') }}"
  vars:
    claims: "{{ lookup('ansible.builtin.file', '/run/user/1000/token') | hackspace.infra.jwt_claims }}"
"""

RETURN = r"""
_value:
  description: The public claims. What the token does not say is null, an empty text or an empty list.
  type: dict
  contains:
    issuer:
      description: Who issued the token (C(iss)).
      type: str
      sample: https://192.0.2.10:6443
    subject:
      description: Whom the token stands for (C(sub)).
      type: str
      sample: system:serviceaccount:4-aux-alice:eso
    audiences:
      description: Who is meant to take the token (C(aud)).
      type: list
      elements: str
      sample: [openbao-member-prod]
    issued_at:
      description: When it was issued, RFC 3339 in UTC.
      type: str
      sample: "2026-11-21T08:00:00Z"
    not_before:
      description: Not valid before this time.
      type: str
      sample: "2026-11-21T08:00:00Z"
    expires_at:
      description: Not valid after this time. Null for a token without expiry.
      type: str
      sample: "2026-11-21T08:10:00Z"
    seconds_left:
      description: Seconds until it expires by the controller's clock, negative afterwards. Null if it never does.
      type: int
      sample: 431
    expired:
      description: Whether it has expired by the controller's clock.
      type: bool
      sample: false
    token_id:
      description: The token's identifier (C(jti)), as the API server writes it to its audit log.
      type: str
    namespace:
      description: Kubernetes namespace of the ServiceAccount.
      type: str
      sample: 4-aux-alice
    service_account:
      description: Name of the ServiceAccount.
      type: str
      sample: eso
    service_account_uid:
      description: UID of the ServiceAccount.
      type: str
    bound:
      description: The object whose deletion revokes the token, or null.
      type: dict
      contains:
        kind:
          description: V(Secret), V(Pod) or V(Node).
          type: str
        name:
          description: Name of the object.
          type: str
        uid:
          description: UID of the object.
          type: str
    legacy:
      description: Whether it is a token of a Kubernetes Secret of type C(kubernetes.io/service-account-token).
      type: bool
      sample: false
    algorithm:
      description: Algorithm of the signature.
      type: str
      sample: RS256
    key_id:
      description: Name of the signing key in the cluster's key set.
      type: str
    others:
      description: Names of further claims, whose values are not shown.
      type: list
      elements: str
"""


def jwt_claims(token: t.Any) -> dict[str, t.Any]:
    """Return the public claims; see DOCUMENTATION."""
    if not isinstance(token, str):
        raise AnsibleFilterError("jwt_claims: the input is not a text.")
    try:
        found = claims.decode(token)
    except InvalidInput as error:
        raise AnsibleFilterError(f"jwt_claims: {error}") from None
    now = time.time()
    left = found.seconds_left(now)
    return {**found.as_dict(), "seconds_left": None if left is None else int(left), "expired": found.expired(now)}


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"jwt_claims": jwt_claims}
