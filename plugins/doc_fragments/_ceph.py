# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - librados for Python (Debian's python3-rados and python3-rbd), in the Python that runs the module or in the one that the program C(ceph) runs in
options:
  conf:
    description: Configuration of the Ceph cluster, with its monitors.
    type: path
    default: /etc/ceph/ceph.conf
  user:
    description: Ceph user to log in as.
    type: str
    default: client.admin
  keyring:
    description: File with that user's key. Without it, where O(conf) says.
    type: path
  timeout:
    description: Seconds to wait for a connection, and for each answer.
    type: int
    default: 30
notes:
  - Runs on a node of the Ceph cluster, such as a PVE node, as a user who may read O(conf) and the keyring. One connection is opened for all of it.
  - No key is in an argument list, an environment or a temporary file, and nothing is ever written below C(/etc/pve).
"""
