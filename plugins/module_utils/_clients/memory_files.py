# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Files that exist in memory only, for libraries that take a private key by its path."""

from __future__ import annotations

import base64
import binascii
import copy
import os
import typing as t

from .._core.errors import InvalidInput

#: Linux has files without a folder; elsewhere the Kubernetes client writes embedded keys to a file of mode 0600.
_POSSIBLE = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")


class MemoryFile:
    """A file in memory; gone when closed or when the process ends.

    :ivar path: opens it, in this process only.
    """

    def __init__(self, data: bytes) -> None:
        self._fd = os.memfd_create("hackspace")
        self.path = f"/proc/self/fd/{self._fd}"
        os.write(self._fd, data)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def keys_in_memory(kubeconfig: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], list[MemoryFile]]:
    """Return a kubeconfig whose embedded client keys are paths of files in memory, and these files.

    The Kubernetes client would write an embedded key to a temporary file. Keep the files as long as the client is used.

    :raises InvalidInput: rule ``client-key-data``, for a key that is not base64.
    """
    result = copy.deepcopy(dict(kubeconfig))
    files: list[MemoryFile] = []
    for entry in result.get("users") or [] if _POSSIBLE else []:
        user = entry.get("user") if isinstance(entry, dict) else None
        if not isinstance(user, dict) or not isinstance(user.get("client-key-data"), str):
            continue
        try:
            data = base64.b64decode("".join(user["client-key-data"].split()), validate=True)
        except (ValueError, binascii.Error):
            raise InvalidInput(
                "client-key-data is not base64.",
                item=f"kubeconfig, user {entry.get('name')}",
                rule="client-key-data",
                fix="give the whole kubeconfig as the cluster's tools write it.",
            ) from None
        files.append(MemoryFile(data))
        del user["client-key-data"]
        user["client-key"] = files[-1].path
    return result, files
