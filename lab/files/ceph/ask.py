# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks Ceph, in one process and on one connection, what the lab and its tests want to know.

Runs with the system's Python and the bindings of the unpacked packages. Takes one JSON object from standard input::

    {"conf": ..., "user": "client.admin", "keyring": ... or "key": ..., "timeout": 10, "commands": [...]}

and writes a list with one ``{"code": ..., "out": ..., "said": ...}`` for each command, which is one of

- ``{"mon": {...}, "data": ""}``, ``{"mgr": {...}}``: commands as the servers know them; a ``mon`` may be told which one
  to ask by ``"at"``;
- ``{"rbd": "create|write|snapshot|clone|ls|remove|init|namespaces|namespace", "pool": ..., "namespace": ...,
  "image": ...}``;
- ``{"fs": "mkdir|ls|rmdir|write|read", "path": ..., "root": ..., "filesystem": ...}``;
- ``{"rados": "write|read", "pool": ..., "namespace": ..., "object": ...}``;
- ``{"until": {command}, "path": [...], "is": ...}``: asked again until the answer has that value.
- ``{"hold": FILE}``: keeps the connection, and what is mounted, until the file is gone.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import sys
import time
from typing import Any


def _decoded(raw: bytes) -> Any:
    text = raw.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


class Session:
    """One connection."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._library = importlib.import_module("rados")
        self._end = time.monotonic() + float(order.get("timeout", 10))
        conf = {"client_mount_timeout": str(order.get("timeout", 10)), "rados_mon_op_timeout": "20"}
        conf["rbd_default_clone_format"] = "2"  # which can leave a namespace
        if order.get("key"):
            conf["key"] = order["key"]
        else:
            conf["keyring"] = order["keyring"]
        self._cluster = self._library.Rados(conffile=order["conf"], name=order.get("user", "client.admin"), conf=conf)
        self._mounts: dict[str, Any] = {}
        self._cluster.connect(timeout=int(order.get("timeout", 10)))

    def close(self) -> None:
        for mount in self._mounts.values():
            mount.shutdown()
        self._cluster.shutdown()

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return code, output and words."""
        try:
            for kind in ("mon", "mgr", "rbd", "fs", "rados", "until", "hold"):
                if kind in command:
                    found: dict[str, Any] = getattr(self, f"_{kind}")(command)
                    return found
        except Exception as error:
            return {"code": -abs(getattr(error, "errno", None) or 5), "out": None, "said": f"{error}"}
        return {"code": -22, "out": None, "said": "unknown command"}

    def _mon(self, command: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps({"format": "json", **command["mon"]})
        where = {"target": command["at"]} if command.get("at") else {}
        code, out, said = self._cluster.mon_command(text, command.get("data", "").encode(), timeout=20, **where)
        return {"code": code, "out": _decoded(out), "said": said}

    def _mgr(self, command: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps({"format": "json", **command["mgr"]})
        code, out, said = self._cluster.mgr_command(text, command.get("data", "").encode(), timeout=20)
        return {"code": code, "out": _decoded(out), "said": said}

    def _rbd(self, command: dict[str, Any]) -> dict[str, Any]:
        rbd = importlib.import_module("rbd")
        out: Any = None
        with self._cluster.open_ioctx(command["pool"]) as pool:
            library, what = rbd.RBD(), command["rbd"]
            if what == "init":
                library.pool_init(pool, True)
            elif what == "namespaces":
                out = library.namespace_list(pool)
            elif what == "namespace":
                library.namespace_create(pool, command["namespace"])
            else:
                pool.set_namespace(command.get("namespace", ""))
                out = self._image(rbd, library, pool, command)
        return {"code": 0, "out": out, "said": ""}

    def _image(self, rbd: Any, library: Any, pool: Any, command: dict[str, Any]) -> Any:
        what, image = command["rbd"], command.get("image", "")
        if what == "create":
            library.create(pool, image, 8 << 20, features=rbd.RBD_FEATURE_LAYERING, data_pool=command.get("data_pool"))
        elif what == "write":
            with rbd.Image(pool, image) as opened:
                opened.write(b"x" * 4096, 0)
        elif what == "remove":
            library.remove(pool, image)
        elif what == "snapshot":
            with rbd.Image(pool, image) as opened:
                opened.create_snap("one")
                opened.protect_snap("one")
        elif what == "clone":
            with self._cluster.open_ioctx(command["pool"]) as source:
                source.set_namespace(command["from"])
                features = rbd.RBD_FEATURE_LAYERING
                library.clone(source, image, "one", pool, command["clone"], features=features)
        elif what == "ls":
            return library.list(pool)
        else:
            raise ValueError(f"unknown order {what}")
        return None

    def _fs(self, command: dict[str, Any]) -> dict[str, Any]:
        library = importlib.import_module("cephfs")
        name = command.get("filesystem", "cephfs")
        root = command.get("root", "/")
        mount = self._mounts.get(f"{name}:{root}")
        if mount is None:
            mount = library.LibCephFS(rados_inst=self._cluster)
            mount.conf_set("client_mount_timeout", "10")
            mount.conf_set("client_mount_uid", "0")
            mount.conf_set("client_mount_gid", "0")
            mount.mount(mount_root=root.encode(), filesystem_name=name.encode())
            self._mounts[f"{name}:{root}"] = mount
        path, what, out = command["path"].encode(), command["fs"], None
        if what == "mkdir":
            mount.mkdir(path, 0o755)
        elif what == "rmdir":
            mount.rmdir(path)
        elif what == "ls":
            with mount.opendir(path) as folder:
                entry = folder.readdir()
                out = []
                while entry:
                    out.append(entry.d_name.decode())
                    entry = folder.readdir()
        elif what == "write":
            opened = mount.open(path, "w", 0o644)
            mount.write(opened, b"x", 0)
            mount.fsync(opened, 0)
            mount.close(opened)
        elif what == "read":
            opened = mount.open(path, "r")
            out = mount.read(opened, 0, 16).decode()
            mount.close(opened)
        return {"code": 0, "out": out, "said": ""}

    def _rados(self, command: dict[str, Any]) -> dict[str, Any]:
        with self._cluster.open_ioctx(command["pool"]) as pool:
            pool.set_namespace(command.get("namespace", ""))
            if command["rados"] == "write":
                pool.write_full(command["object"], b"x")
                return {"code": 0, "out": None, "said": ""}
            return {"code": 0, "out": pool.read(command["object"]).decode(), "said": ""}

    def _until(self, command: dict[str, Any]) -> dict[str, Any]:
        while True:
            answer = self.run(command["until"])
            value: Any = answer["out"] if answer["code"] == 0 else None
            if answer["code"] == 0 and not command.get("path") and "is" not in command:
                return answer
            for key in command.get("path", ()):
                value = value.get(key) if isinstance(value, dict) else None
            if "is" in command and value == command["is"]:
                return answer
            if time.monotonic() > self._end:
                return {"code": -110, "out": value, "said": answer["said"] or "not yet"}
            time.sleep(0.1)

    def _hold(self, command: dict[str, Any]) -> dict[str, Any]:
        file = pathlib.Path(command["hold"])
        file.touch()
        while file.exists():
            time.sleep(0.05)
        return {"code": 0, "out": None, "said": ""}


def main() -> int:
    """Take the order, write the answers."""
    order = json.load(sys.stdin)
    answers: list[dict[str, Any]]
    try:
        session = Session(order)
    except Exception as error:
        code = -abs(getattr(error, "errno", None) or 5)
        answers = [{"code": code, "out": None, "said": f"no connection: {error}"} for _one in order["commands"]]
    else:
        answers = [session.run(command) for command in order["commands"]]
        session.close()
    json.dump(answers, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
