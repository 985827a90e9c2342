# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m lab: the lab's command line."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from lab import build, flux_manifests, git
from lab.api import COMPONENTS, DEFAULT, OPTIONAL, Lab
from lab.errors import Cancelled, LabError
from lab.pki import Pair
from lab.proxy import Proxy, serve
from lab.rest import Server


def _say(text: str) -> None:
    print(text, flush=True)


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab", description="OpenBao, Kubernetes and Ceph clusters on loopback."
    )
    parser.add_argument("--name", default=DEFAULT, help="name of the lab; several can run at once")
    parser.add_argument("--state-dir", help="folder under which labs keep their state (LAB_STATE_DIR)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    names = {"nargs": "+", "metavar": "NAME", "help": "process or component: see status"}

    up = commands.add_parser("up", help="start what is not running, build what is missing")
    up.add_argument("--only", type=_list, metavar="COMPONENT,...", help=", ".join(COMPONENTS))
    up.add_argument("--with", dest="extra", type=_list, default=[], metavar="COMPONENT,...", help=", ".join(OPTIONAL))
    up.add_argument("--proxy", action="store_true", help="put a counting proxy in front of each OpenBao node")
    up.add_argument("--init", action="store_true", help="initialise and unseal OpenBao as well")

    down = commands.add_parser("down", help="stop everything")
    down.add_argument("--wipe", action="store_true", help="remove the state as well")

    status = commands.add_parser("status", help="what runs; ends with 3 unless everything chosen is ready")
    status.add_argument("--json", action="store_true")

    reset = commands.add_parser("reset", help="fresh data; certificates, ports and holders stay")
    reset.add_argument("--init", action="store_true", help="initialise and unseal OpenBao as well")

    for name, text in (
        ("start", "start processes"),
        ("stop", "stop processes"),
        ("restart", "stop and start processes; OpenBao comes back sealed"),
        ("pause", "let processes hang"),
        ("resume", "let paused processes go on"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("names", **names)  # type: ignore[arg-type]
        if name in ("stop", "restart"):
            command.add_argument("--kill", action="store_true", help="without asking, as a power cut does")

    commands.add_parser("init", help="initialise and unseal OpenBao with plaintext shares, for tests")
    unseal = commands.add_parser("unseal", help="unseal OpenBao with the shares that init made")
    unseal.add_argument("names", nargs="*", metavar="NODE")

    builder = commands.add_parser("build", help="build missing programs")
    builder.add_argument("--only", type=_list, metavar="PROGRAM,...", help=", ".join(build.PROGRAMS))

    controllers = commands.add_parser("flux", help="restart Flux's controllers next to a cluster")
    controllers.add_argument(
        "action",
        choices=("follow", "lock", "unlock"),
        help="follow: with what their Deployments in the cluster say; lock, unlock: change the lab's Deployments first",
    )
    controllers.add_argument("cluster", metavar="CLUSTER")
    controllers.add_argument("--trust-git", action="store_true", help="they trust the authority of the Git server")

    repository = commands.add_parser("repository", help="put a folder into the Git server, and say its address")
    repository.add_argument("repository", metavar="NAME")
    repository.add_argument("folder", type=Path, metavar="FOLDER")

    commands.add_parser("flux-manifests", help="say where Flux's install.yaml is, and its sha256")

    repositories = commands.add_parser("git", help="run the Git server in the foreground")
    repositories.add_argument("--folder", type=Path, required=True)
    for option in ("listen", "listen-tls", "listen-ssh"):
        repositories.add_argument(f"--{option}", type=int, required=True, metavar="PORT")
    for option in ("cert", "key", "host-key"):
        repositories.add_argument(f"--{option}", type=Path, required=True)

    proxy = commands.add_parser("proxy", help="run one counting proxy in the foreground")
    for option in ("name", "tls-server-name", "log"):
        proxy.add_argument(f"--{option}", dest=f"proxy_{option.replace('-', '_')}")
    for option in ("upstream", "ca", "cert", "key"):
        proxy.add_argument(f"--{option}", required=True)
    for option in ("listen", "control"):
        proxy.add_argument(f"--{option}", type=int, required=True, metavar="PORT")
    return parser


def _status(lab: Lab, as_json: bool) -> int:
    lines = lab.status()
    if as_json:
        _say(json.dumps([vars(line) for line in lines], indent=2))
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            ports = " ".join(f"{name}={port}" for name, port in line.ports.items())
            _say(f"{line.name:<{width}}  {line.state:<8}  {line.pid or '-':<8}  {ports}  {line.detail}".rstrip())
    wanted = set(lab.components or COMPONENTS)
    return 0 if all(line.state == "ready" for line in lines if line.component in wanted) else 3


def _build(only: list[str] | None) -> None:
    names = build.missing(only if only is not None else build.PROGRAMS)
    builder = build.Builder(names, _say)
    builder.announce()
    begin = time.monotonic()
    for name in names:
        _say(f"{name}: {builder.build(name, lambda: False)}")
    for name in only if only is not None else build.PROGRAMS:
        _say(f"{name} v{build.PROGRAMS[name].version}: {build.path(name)}")
    if names:
        _say(f"built in {build.about(time.monotonic() - begin)}")


def _proxy(options: argparse.Namespace) -> None:
    upstream = Server(options.upstream, Path(options.ca), options.proxy_tls_server_name)
    pair = Pair(Path(options.cert), Path(options.key))
    log = Path(options.proxy_log) if options.proxy_log else None
    proxy = Proxy(upstream, pair, name=options.proxy_name or "proxy", log=log, port=options.listen)
    serve(proxy, options.control)


def _run(options: argparse.Namespace) -> int:
    if options.command == "proxy":
        _proxy(options)
        return 0
    if options.command == "build":
        _build(options.only)
        return 0
    if options.command == "flux-manifests":
        file = flux_manifests.install()
        _say(json.dumps({"path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}))
        return 0
    if options.command == "git":
        pair = Pair(options.cert, options.key)
        git.serve(options.folder, (options.listen, options.listen_tls, options.listen_ssh), pair, options.host_key)
        return 0
    lab = Lab(options.name, options.state_dir, _say)
    begin = time.monotonic()
    match options.command:
        case "up":
            lab.up([*(options.only or COMPONENTS), *options.extra], proxy=options.proxy, init=options.init)
            _say(f"lab {lab.name} is up ({time.monotonic() - begin:.1f} s); inventory: {lab.state / 'inventory'}")
        case "down":
            gone = lab.down(wipe=options.wipe)
            _say(f"lab {lab.name}: {len(gone)} processes stopped ({time.monotonic() - begin:.1f} s)")
        case "reset":
            lab.reset(init=options.init)
            _say(f"lab {lab.name} is fresh ({time.monotonic() - begin:.1f} s)")
        case "status":
            return _status(lab, options.json)
        case "start":
            lab.start(*options.names)
        case "stop":
            lab.stop(*options.names, kill=options.kill)
        case "restart":
            lab.restart(*options.names, kill=options.kill)
        case "pause":
            lab.pause(*options.names)
        case "resume":
            lab.resume(*options.names)
        case "repository":
            made = lab.git.repository(options.repository)
            made.commit(options.folder, "As in the folder", replace=True)
            _say(made.url)
        case "flux":
            if options.action == "follow":
                told = lab.follow_flux(options.cluster, trust_git=options.trust_git)
            else:
                told = lab.set_flux(options.cluster, lockdown=options.action == "lock")
            for controller, arguments in told.items():
                _say(f"{controller} {' '.join(arguments)}")
        case "init":
            lab.init_openbao()
        case "unseal":
            lab.unseal(*options.names)
            _say(f"active: {lab.openbao_active()}")
    return 0


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Cancelled as error:
        print(f"lab: {error}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
