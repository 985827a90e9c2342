# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
    details: This module only reads.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: N/A
    details: This module only reads.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
    details: This module only reads.
"""

    OWNERSHIP = r"""
options:
  adopt:
    description:
      - Take over items that exist, differ from what is wanted and are not marked as ours.
      - Without it they are shown in RV(ignore:foreign) and the module refuses to change anything.
    type: bool
    default: false
  prune:
    description: Delete items that are marked as ours and are not in the list.
    type: bool
    default: false
  prune_max_percent:
    description:
      - Refuse to prune more than this share of the items that are ours, in percent. One item may always go.
      - An empty list never prunes.
    type: int
    default: 20
"""

    ACTIONGROUP_OPENBAO = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/hackspace.infra.openbao) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - hackspace.infra.openbao
"""

    ACTIONGROUP_KUBE = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/hackspace.infra.kube) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - hackspace.infra.kube
"""

    ACTIONGROUP_CEPH = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/hackspace.infra.ceph) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - hackspace.infra.ceph
"""
