# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The kubeconfig of modules with the option ``pods``: an encrypted one is passed on in memory."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

from ._secret_files import SecretReader


def with_pods(reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
    """Replace the path of an encrypted kubeconfig by its content, and make that of a plain one absolute."""
    pods = args.get("pods")
    if not isinstance(pods, Mapping) or not isinstance(pods.get("kubeconfig"), str) or not pods["kubeconfig"]:
        return args  # the module says what is wrong with it
    if os.pathsep in pods["kubeconfig"]:
        return args
    item = "pods.kubeconfig"
    path = reader.path(pods["kubeconfig"], item=item)
    text = reader.file(path, item=item)
    with open(path, "rb") as handle:
        plain = handle.read() == text.encode()
    if plain:
        return {**args, "pods": {**pods, "kubeconfig": path}}
    rest = {key: value for key, value in pods.items() if key != "kubeconfig"}
    return {**args, "pods": {**rest, "kubeconfig_content": text}}
