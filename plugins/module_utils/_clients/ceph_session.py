# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""A connection by librados. Imports nothing of ours, as it also runs by itself in another Python that has librados.

Orders and answers are plain data, so that they can go through a pipe: nothing of them is ever in an argument list.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import typing as t

#: A monitor that has just been connected to may not be known by its name yet.
_PATIENCE: t.Final = 3.0
_ENXIO: t.Final = -6
_ENOENT: t.Final = -2
#: What ``rbd pool init`` writes, and where; without it the first image needs rights on the pool itself.
_INFO: t.Final = "rbd_info"
_VALIDATED: t.Final = b"overwrite validated"


def has_bindings() -> bool:
    """Say whether this Python has librados."""
    try:
        importlib.import_module("rados")
    except ImportError:
        return False
    return True


def _code(error: BaseException) -> int:
    found = getattr(error, "errno", None)
    return -abs(found) if isinstance(found, int) and found else -5


def _decoded(raw: t.Any) -> t.Any:
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _ready(pool: t.Any) -> bool:
    """Say whether images can be made by somebody who may do nothing outside of a namespace (``librbd``: RBD_INFO)."""
    try:
        return bool(pool.read(_INFO) == _VALIDATED)
    except Exception as error:  # pylint: disable=broad-except
        if _code(error) == _ENOENT:
            return False
        raise


class Session:
    """One connection.

    :param login: ``conf``, ``name``, ``timeout``; and ``keyring``, a file, or ``key``, the key itself.
    """

    def __init__(self, login: t.Mapping[str, t.Any]) -> None:
        rados = importlib.import_module("rados")
        self._timeout = int(login.get("timeout") or 30)
        options = {
            "client_mount_timeout": str(self._timeout),
            "rados_mon_op_timeout": str(self._timeout),
            "rados_osd_op_timeout": str(self._timeout),
            # nothing is said on standard error, and no files are made
            "log_file": "",
            "log_to_stderr": "false",
            "admin_socket": "",
        }
        options.update({name: login[name] for name in ("key", "keyring", "mon_host") if login.get(name)})
        self._cluster = rados.Rados(conffile=login.get("conf") or "", name=login["name"], conf=options)
        self._cluster.connect(timeout=self._timeout)

    def close(self) -> None:
        """End the connection."""
        self._cluster.shutdown()

    def run(self, orders: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
        """Carry out orders until one fails that may not; return the answers so far."""
        answers = []
        for order in orders:
            answer = self._one(order)
            answers.append(answer)
            if answer["code"] and answer["code"] not in order.get("ok", ()):
                break
        return answers

    def _one(self, order: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        try:
            if order["target"] == "rbd":
                return {"code": 0, "out": self._rbd(order["prefix"], order["arguments"]), "said": ""}
            return self._command(order)
        except Exception as error:  # pylint: disable=broad-except
            return {"code": _code(error), "out": None, "said": str(error)}

    def _command(self, order: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        text = json.dumps({"format": "json", **order["arguments"], "prefix": order["prefix"]})
        data = order.get("data", "").encode()
        end = time.monotonic() + _PATIENCE
        while True:
            if order["target"] == "mgr":
                code, out, said = self._cluster.mgr_command(text, data, timeout=self._timeout)
            elif order["target"] == "tell":
                code, out, said = self._cluster.mon_command(text, data, timeout=self._timeout, target=order["at"])
            else:
                code, out, said = self._cluster.mon_command(text, data, timeout=self._timeout)
            if code != _ENXIO or order["target"] != "tell" or time.monotonic() > end:
                return {"code": -abs(code), "out": _decoded(out), "said": said}
            time.sleep(0.2)

    def _rbd(self, prefix: str, arguments: t.Mapping[str, t.Any]) -> t.Any:
        rbd = importlib.import_module("rbd")
        library = rbd.RBD()
        with self._cluster.open_ioctx(arguments["pool"]) as pool:
            name = arguments.get("namespace", "")
            if prefix == "namespaces":
                return sorted(library.namespace_list(pool))
            if prefix == "namespace create":
                return library.namespace_create(pool, name)
            if prefix == "namespace remove":
                return library.namespace_remove(pool, name)
            if prefix == "init":
                return library.pool_init(pool, True)
            if prefix == "ready":
                return _ready(pool)
            if prefix == "images":
                pool.set_namespace(name)
                trash = [image["name"] for image in library.trash_list(pool)]
                return sorted([*library.list(pool), *trash])
        raise ValueError(f"unknown order {prefix}")


def main() -> None:
    """Take login and orders from standard input, write the answers."""
    given = json.load(sys.stdin)
    try:
        session = Session(given["login"])
    except Exception as error:  # pylint: disable=broad-except
        json.dump({"unreachable": str(error), "code": _code(error)}, sys.stdout)
        return
    answers = session.run(given["orders"])
    session.close()
    json.dump({"answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
