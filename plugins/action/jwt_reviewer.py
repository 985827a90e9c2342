# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads the login to OpenBao and the kubeconfigs from files, encrypted ones too, and passes them on in memory."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

from ..module_utils._core.errors import InvalidInput
from ..plugin_utils._secret_files import SecretFilesAction, SecretReader

_LOGIN: t.Final = {"password_file": "password", "token_path": "token"}


class ActionModule(SecretFilesAction):
    """For modules with ``openbao: {}`` and ``clusters: [{kubeconfig}]``. They log in in check mode too."""

    def work(self, reader: SecretReader, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return self.module(self.fill(reader, args), task_vars)

    def fill(self, reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        args = super().fill(reader, args)
        if isinstance(args.get("openbao"), Mapping):
            args["openbao"] = self._login(reader, dict(args["openbao"]))
        clusters = args.get("clusters")
        if isinstance(clusters, (list, tuple)):
            args["clusters"] = [self._cluster(reader, raw, number) for number, raw in enumerate(clusters)]
        return args

    @staticmethod
    def _login(reader: SecretReader, args: dict[str, t.Any]) -> dict[str, t.Any]:
        for source, target in _LOGIN.items():
            path = args.pop(source, None)
            if path is None:
                continue
            if args.get(target) is not None:
                raise InvalidInput(
                    f"both {source} and {target} are given.",
                    item=f"openbao.{source}",
                    rule="one-source",
                    fix="give one of the two.",
                )
            args[target] = reader.file(str(path), item=f"openbao.{source}").rstrip("\n")
        return args

    @staticmethod
    def _cluster(reader: SecretReader, raw: t.Any, number: int) -> t.Any:
        """Replace the path of an encrypted kubeconfig by its content, and make that of a plain one absolute."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("kubeconfig"), str) or not raw["kubeconfig"]:
            return raw  # the module says what is wrong with it
        if os.pathsep in raw["kubeconfig"]:
            return raw
        item = f"clusters[{number}] ({raw.get('name')}).kubeconfig"
        path = reader.path(raw["kubeconfig"], item=item)
        text = reader.file(path, item=item)
        with open(path, "rb") as handle:
            plain = handle.read() == text.encode()
        if plain:
            return {**raw, "kubeconfig": path}
        return {**{k: v for k, v in raw.items() if k != "kubeconfig"}, "kubeconfig_content": text}
