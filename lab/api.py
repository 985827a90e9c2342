# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as a Python object, for tests and for the command line."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab import build, ceph, eso, flux, git, holders, inventory, kube, kyverno, openbao, pods, postgres, transit
from lab.errors import LabError
from lab.files import locked, private_dir, read_json, write_json
from lab.holders import Holder
from lab.kube import Cluster, KubeCluster
from lab.openbao import InitResult, OpenBaoNode
from lab.ports import Ports, busy, is_free
from lab.procs import Process, Supervisor, look
from lab.proxy import Proxy
from lab.rest import Server
from lab.runner import Step, run
from lab.transit import TransitSeal

__all__ = [
    "COMPONENTS",
    "Cluster",
    "Holder",
    "InitResult",
    "Lab",
    "LabError",
    "OpenBaoNode",
    "Proxy",
    "Status",
    "TransitSeal",
]

ROOT = Path(__file__).parent.parent
CLUSTERS = {"core-infra": "upstream", "member-prod": "downstream"}
COMPONENTS = (openbao.COMPONENT, *CLUSTERS)
# Started only when asked for by name.
OPTIONAL = (
    ceph.COMPONENT,
    eso.COMPONENT,
    flux.COMPONENT,
    git.COMPONENT,
    kyverno.COMPONENT,
    pods.COMPONENT,
    postgres.COMPONENT,
    transit.COMPONENT,
)
# Run next to every cluster that is up.
_BESIDE_CLUSTERS = (eso.COMPONENT, flux.COMPONENT, kyverno.COMPONENT)
_Controllers = eso.ExternalSecrets | flux.Flux | kyverno.Kyverno
DEFAULT = "default"
_PROXY = "proxy"


@dataclass(frozen=True)
class Status:
    """One line of the lab's status."""

    name: str
    component: str
    state: str
    """stopped, paused, starting or ready"""
    pid: int | None
    ports: dict[str, int]
    detail: str = ""


class Lab:
    """One lab: a name, a folder with its state, its processes."""

    def __init__(
        self, name: str = DEFAULT, state_dir: Path | str | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,40}", name):
            raise LabError(f"{name!r} is no name for a lab: small letters, digits, dots and hyphens")
        base = state_dir or os.environ.get("LAB_STATE_DIR")
        self._default_place = base is None
        self.name = name
        self.state = (Path(base).absolute() if base else Path(__file__).parent.absolute() / ".state") / name
        self._say = say or (lambda text: None)
        self._supervisor = Supervisor(self.state)
        self._ports = Ports(self.state / "ports.json", self.state)
        self._openbao = openbao.OpenBao(self.state)
        self._transit = transit.Transit(self.state)
        self.postgres = postgres.Postgres(self.state, self._say)
        self._ceph = ceph.Ceph(self.state, self._say)
        self._clusters = {
            cluster: KubeCluster(cluster, role, index, self.state)
            for index, (cluster, role) in enumerate(CLUSTERS.items())
        }
        self._eso = {name: eso.ExternalSecrets(cluster) for name, cluster in self._clusters.items()}
        self._git = git.Git(self.state)
        self._flux = {name: flux.Flux(cluster) for name, cluster in self._clusters.items()}
        self._kyverno = {name: kyverno.Kyverno(cluster) for name, cluster in self._clusters.items()}
        self._pods = pods.OpenBaoPods(self._clusters[pods.CLUSTER], self._openbao)
        self._holders: list[Holder] = []
        self._known_ports: dict[str, int] = {}
        self._prepared = False
        self._guard = threading.RLock()
        self._depth = 0

    # -- preparing -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time per lab, across threads and processes."""
        with self._guard:
            if self._depth:
                yield
                return
            private_dir(self.state.parent)
            private_dir(self.state).chmod(0o700)
            with locked(self.state / "lock", lambda: self._say(f"waiting for another command on lab {self.name}")):
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1

    def _prepare(self) -> None:
        """Ports, certificates, keys, holders: made once, then found again."""
        names = [*self._openbao.port_names, *self._transit.port_names, self.postgres.port_name]
        names += [*self._git.port_names, *self._ceph.port_names]
        for cluster in self._clusters.values():
            names += cluster.port_names
        names += [part.port_name for part in self._eso.values()]
        names += [port for part in self._kyverno.values() for port in part.port_names]
        names += [port for part in self._flux.values() for port in part.port_names]
        names += [f"{_PROXY}-{node}.{kind}" for node in openbao.NODES for kind in ("listen", "control")]
        self._known_ports = self._ports.ensure(names)
        self._openbao.prepare(self._known_ports)
        self._transit.prepare(self._known_ports)
        self._git.prepare(self._known_ports)
        self.postgres.prepare(self._known_ports)
        self._ceph.prepare(self._known_ports)
        for cluster in self._clusters.values():
            cluster.prepare(self._known_ports)
        for part in self._eso.values():
            part.prepare(self._known_ports)
        for engine in self._kyverno.values():
            engine.prepare(self._known_ports)
        for controllers in self._flux.values():
            controllers.prepare(self._known_ports)
        self._holders = holders.make(self.state / "holders")
        self._prepared = True

    def _load(self) -> None:
        """Know what an earlier 'up' made."""
        with self._guard:
            if self._prepared:
                return
            if not (self.state / "ports.json").is_file():
                raise LabError(
                    f"lab {self.name} was never started: 'python -m lab up' (state would be in {self.state})"
                )
            if (self.state / "lab.json").is_file():
                # Everything is made, so nothing is written: this works while 'up' still builds and starts.
                self._prepare()
                return
            with self._locked():
                self._prepare()

    @property
    def _recorded(self) -> dict[str, Any]:
        return dict(read_json(self.state / "lab.json") or {})

    @property
    def components(self) -> tuple[str, ...]:
        """The components that the last 'up' was about."""
        return tuple(self._recorded.get("components", ()))

    @property
    def proxied(self) -> bool:
        """The inventory leads through proxies."""
        return bool(self._recorded.get("proxied", False))

    # -- the process table -----------------------------------------------------------------------------------

    def _table(self) -> list[Process]:
        rows = self._openbao.processes() + self._proxies()
        for cluster in self._clusters.values():
            rows += cluster.processes()
        for part in self._optional():
            rows += part.processes()
        if flux.COMPONENT not in self.components:
            rows += [row for part in self._flux.values() if part.followed for row in part.processes()]
        if git.COMPONENT in self.components:
            rows += self._git.processes()
        if pods.COMPONENT in self.components:
            rows += self._pods.processes()
        if transit.COMPONENT in self.components:
            rows += self._transit.processes()
        if ceph.COMPONENT in self.components:
            rows += self._ceph.processes()
        if postgres.COMPONENT in self.components:
            rows += self.postgres.processes()
        return rows

    def _optional(self, *components: str) -> list[_Controllers]:
        """Controllers next to the chosen clusters, if they are chosen; of the components named or of all."""
        chosen = [name for name in self.components if not components or name in components]
        clusters = [name for name in self._clusters if name in self.components]
        made: list[_Controllers] = []
        if eso.COMPONENT in chosen:
            made += [self._eso[name] for name in clusters]
        if flux.COMPONENT in chosen:
            made += [self._flux[name] for name in clusters]
        if kyverno.COMPONENT in chosen:
            made += [self._kyverno[name] for name in clusters]
        return made

    def _proxies(self) -> list[Process]:
        rows = []
        for node in openbao.NODES:
            name = f"{_PROXY}-{node}"
            listen, control = (self._known_ports[f"{name}.{kind}"] for kind in ("listen", "control"))
            pair = self._openbao.pair(node)
            log = self.state / "proxy" / f"{node}.jsonl"

            def ready(control: int = control) -> str | None:
                return "control port closed" if is_free(control) else None

            rows.append(
                Process(
                    name=name,
                    component=_PROXY,
                    argv=(
                        sys.executable,
                        "-m",
                        "lab",
                        "proxy",
                        f"--name={name}",
                        f"--listen={listen}",
                        f"--control={control}",
                        f"--upstream={self._openbao.address(node)}",
                        f"--tls-server-name={self._openbao.server_name(node)}",
                        f"--ca={self._openbao.authority.pair.cert}",
                        f"--cert={pair.cert}",
                        f"--key={pair.key}",
                        f"--log={log}",
                    ),
                    ports={"listen": listen, "control": control},
                    ready=ready,
                    log=self.state / "logs" / f"{name}.log",
                    env={"PYTHONPATH": str(ROOT)},
                    data=(log,),
                )
            )
        return rows

    def _select(self, names: Iterable[str]) -> list[Process]:
        """Processes by their names or those of components."""
        table = self._table()
        selected: list[Process] = []
        for name in names:
            found = [row for row in table if name in (row.name, row.component)]
            if not found:
                known = sorted({row.name for row in table} | {row.component for row in table})
                raise LabError(f"no process {name!r}; there are {', '.join(known)}")
            selected += [row for row in found if row not in selected]
        return selected

    # -- up and down -----------------------------------------------------------------------------------------

    def up(
        self,
        components: Sequence[str] | None = None,
        *,
        proxy: bool = False,
        init: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        """Start what is not running and wait until it serves."""
        wanted = list(components) if components is not None else list(COMPONENTS)
        known = (*COMPONENTS, *OPTIONAL)
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise LabError(f"unknown components {unknown}; there are {', '.join(known)}")
        with self._locked():
            self._prepare()
            if init and openbao.COMPONENT not in wanted:
                raise LabError("init wants the component openbao")
            running = {row.component for row in self._table() if self._supervisor.find(row.name)}
            if flux.COMPONENT not in self.components:
                # Controllers of one cluster that follow_flux() started are no reason for some in the others.
                running.discard(flux.COMPONENT)
            proxy = proxy or _PROXY in running
            chosen = [name for name in known if name in wanted or name in running]
            for name in _BESIDE_CLUSTERS:
                if name in chosen and not set(chosen) & set(self._clusters):
                    raise LabError(f"{name} wants a cluster: {', '.join(self._clusters)}")
            if pods.COMPONENT in chosen and not {openbao.COMPONENT, pods.CLUSTER} <= set(chosen):
                raise LabError(f"{pods.COMPONENT} wants {openbao.COMPONENT} and {pods.CLUSTER}")
            self._describe(chosen, proxied=proxy)
            self._start(self._select([*wanted, *([_PROXY] if proxy else [])]), content=wanted, stop=stop)
            if init:
                self.init_openbao()

    def _start(self, rows: Sequence[Process], *, content: Sequence[str], stop: threading.Event | None = None) -> None:
        for row in rows:
            if self._supervisor.find(row.name):
                continue
            taken = busy(row.ports.values())
            if taken:
                raise LabError(f"{row.name}: port {taken[0]} is used by another program; 'lab reset' chooses others")
        programs = {need.removeprefix("build-") for row in rows for need in row.needs if need.startswith("build-")}
        builder = build.Builder(build.missing(programs), self._say, str(self.state))
        builder.announce()
        steps: list[Step] = []
        for name in builder.names:
            previous = (steps[-1].name,) if steps else ()
            steps.append(Step(f"build-{name}", lambda cancelled, name=name: builder.build(name, cancelled), previous))  # type: ignore[misc]
        if openbao.COMPONENT in content:
            steps.append(Step("holders", lambda cancelled: holders.make_pgp(self.state / "holders")))
        for name in content:
            if name in self._clusters:
                steps += self._clusters[name].steps()
            if name in _BESIDE_CLUSTERS:
                steps += [step for part in self._optional(name) for step in part.steps()]
            if name == postgres.COMPONENT:
                steps += self.postgres.steps()
            if name == ceph.COMPONENT:
                steps += self._ceph.steps()
        for row in rows:
            steps.append(Step(row.name, lambda cancelled, row=row: self._ensure(row, cancelled), row.needs))  # type: ignore[misc]
        known = {step.name for step in steps}
        # What is not among the steps is built already, or runs since an earlier 'up'.
        steps = [Step(step.name, step.action, tuple(need for need in step.needs if need in known)) for step in steps]
        run(steps, self._say, stop=stop)
        if "holders" in known:
            self._holders = holders.make(self.state / "holders")

    def _ensure(self, row: Process, cancelled: Callable[[], bool]) -> str:
        done = self._supervisor.ensure(row, cancelled)
        return "runs already" if done == "kept" else "ready"

    def down(self, *, wipe: bool = False) -> list[str]:
        """Stop everything, however far 'up' got. Returns what was running."""
        with self._locked():
            gone: list[str] = []
            if (self.state / "ports.json").is_file():
                self._prepare()
                table = self._table()
                # Servers go before what they store their data in.
                stores = [row for row in table if row.name.endswith("-etcd")]
                gone += self._supervisor.stop([row for row in table if row not in stores])
                gone += self._supervisor.stop(stores)
            gone += self._supervisor.stop_all()
            holders.clean(self.state / "holders")
            if wipe:
                self._prepared = False
                for entry in self.state.iterdir():
                    if entry.name == "lock":
                        continue
                    if entry.is_dir():
                        shutil.rmtree(entry)
                    else:
                        entry.unlink()
            return gone

    def reset(self, *, init: bool = False) -> None:
        """Fresh data, same certificates, ports and holders, for the components that were up."""
        with self._locked():
            self._prepare()
            components = self.components or COMPONENTS
            rows = self._select([*components, *([_PROXY] if self.proxied else [])])
            self._supervisor.stop(rows, kill=True)
            self._supervisor.stop_all()
            for row in self._table():
                for path in (*row.data, row.log):
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink(missing_ok=True)
            mine = {port for row in rows for port in row.ports.values()}
            taken = busy(mine)
            if taken:
                self._ports.drop(name for name, port in self._known_ports.items() if port in taken)
            self.up(components, proxy=self.proxied, init=init)

    def start(self, *names: str) -> None:
        """Start processes or components by name, without what they need, and wait until they serve."""
        with self._locked():
            self._load()
            rows = self._select(names)
            content = [name for name in names if name in self._clusters]
            self._start(rows, content=content)

    def stop(self, *names: str, kill: bool = False) -> None:
        """Stop processes or components by name; kill them when told, as when a machine loses its power."""
        with self._locked():
            self._load()
            self._supervisor.stop(self._select(names), kill=kill)

    def restart(self, *names: str, kill: bool = False) -> None:
        """Stop and start. OpenBao comes back sealed."""
        with self._locked():
            self.stop(*names, kill=kill)
            self.start(*names)

    def pause(self, *names: str) -> None:
        """Let processes hang: connections are accepted by the system and never answered."""
        self._load()
        for row in self._select(names):
            self._supervisor.signal(row.name, signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        """Let paused processes go on."""
        self._load()
        for row in self._select(names):
            self._supervisor.signal(row.name, signal.SIGCONT)

    def status(self) -> list[Status]:
        """What runs and what doesn't."""
        self._load()
        lines = []
        proxied = self.proxied
        for row in self._table():
            if row.component == _PROXY and not proxied:
                continue
            alive = self._supervisor.find(row.name)
            state, detail = "stopped", ""
            if alive:
                now = look(alive.pid)
                if now and now.paused:
                    state = "paused"
                else:
                    try:
                        detail = row.ready() or ""
                    except (OSError, ValueError) as error:
                        detail = str(error)
                    state = "starting" if detail else "ready"
                    if state == "ready" and row.component == openbao.COMPONENT:
                        detail = self._seal(row.name)
            lines.append(Status(row.name, row.component, state, alive.pid if alive else None, dict(row.ports), detail))
        return lines

    def _seal(self, node: str) -> str:
        words = {200: "active", 429: "standby", 473: "standby", 501: "not initialised", 503: "sealed"}
        return words.get(self._openbao.health(node), "")

    def pids(self) -> list[int]:
        """Every process of this lab, by the mark in its environment."""
        return sorted(alive.pid for group in self._supervisor.scan().values() for alive in group)

    # -- OpenBao ---------------------------------------------------------------------------------------------

    @property
    def openbao_nodes(self) -> list[OpenBaoNode]:
        """The three servers."""
        self._load()
        return self._openbao.nodes()

    @property
    def openbao_ca(self) -> Path:
        """The authority of their certificates."""
        self._load()
        return self._openbao.authority.pair.cert

    @property
    def wrong_ca(self) -> Path:
        """An authority that signed nothing here, for tests of verification."""
        self._load()
        return self._openbao.other_authority.pair.cert

    @property
    def openbao_audit_log(self) -> Path:
        """Where OpenBao's audit log goes once init_openbao() has switched it on."""
        return self._openbao.audit_log

    def openbao_server(self, node: str) -> Server:
        """A verified client for one node."""
        self._load()
        self._one_of(node, openbao.NODES)
        return self._openbao.server(node)

    def openbao_active(self) -> str | None:
        """The node that answers sys/health with 200."""
        self._load()
        return self._openbao.active()

    def init_openbao(self) -> InitResult:
        """Initialise with plaintext shares, unseal, wait for an active node. For tests of what comes after."""
        with self._locked():
            self._load()
            result = self._openbao.init()
            self._say(f"OpenBao initialised and unsealed; shares and root token are in {self._openbao.init_file}")
            return result

    def init_transit(self) -> TransitSeal:
        """Make the provider of seals ready (component transit): unsealed, with a key and a token that may use it."""
        with self._locked():
            self._load()
            return self._transit.init()

    def seal_file(self, node: str) -> Path:
        """Where a node's seal stanza belongs: a file of its own in the node's configuration folder."""
        self._load()
        self._one_of(node, openbao.NODES)
        return self._openbao.seal_file(node)

    def set_seal(self, node: str, stanza: dict[str, Any] | None) -> None:
        """Write a node's seal stanza (``{"transit": {...}}``; None is Shamir); it counts from the node's next start."""
        self._load()
        self._one_of(node, openbao.NODES)
        self._openbao.set_seal(node, stanza)

    def unseal(self, *nodes: str) -> None:
        """Send the shares that init_openbao() made to all nodes or some, and wait for an active node."""
        self._load()
        self._openbao.unseal(nodes=nodes or openbao.NODES)

    @property
    def openbao_pods(self) -> pods.OpenBaoPods:
        """The same servers as pods of core-infra (component openbao-pods, then ``deploy()``)."""
        self._load()
        return self._pods

    # -- clusters, holders, proxies --------------------------------------------------------------------------

    @property
    def clusters(self) -> dict[str, Cluster]:
        """The Kubernetes clusters by name."""
        self._load()
        return {name: cluster.info() for name, cluster in self._clusters.items()}

    def kube_server(self, cluster: str) -> Server:
        """A verified client for one API server, as an administrator who is not in the audit log."""
        self._load()
        self._one_of(cluster, tuple(self._clusters))
        mine = self._clusters[cluster]
        return Server(mine.url, mine.authority.pair.cert, client=mine.setup_pair)

    def rotate_signing_key(self, cluster: str, *, keep_old: bool) -> None:
        """Sign service account tokens with a new key, and wait until the API server serves again.

        With *keep_old* the old keys stay in the JWKS and tokens signed with them stay valid, as in an orderly rotation;
        without, they are gone at once, as on a cluster that lost its key.
        """
        with self._locked():
            self._load()
            self._one_of(cluster, tuple(self._clusters))
            self._clusters[cluster].new_signing_key(keep_old=keep_old)
            self._describe(self.components, proxied=self.proxied)
            self.restart(f"{cluster}-apiserver", f"{cluster}-controller-manager")

    def rotate_ca(self, cluster: str) -> Path:
        """Give a cluster another authority and new certificates, as a CA rotation that nobody announced.

        Returns the file with the old authority; kubeconfigs and ca_file have the new one.
        """
        with self._locked():
            self._load()
            self._one_of(cluster, tuple(self._clusters))
            mine = self._clusters[cluster]
            names = [row.name for row in self._select([cluster]) if not row.name.endswith("-etcd")]
            self.stop(*names)
            mine.new_authority()
            self._describe(self.components, proxied=self.proxied)
            self.start(*names)
            return mine.folder / "pki" / "ca-before.pem"

    def set_issuer(self, cluster: str, issuer: str = "") -> None:
        """Restart an API server with another issuer (and default audience) of tokens; the first one if empty."""
        with self._locked():
            self._load()
            self._one_of(cluster, tuple(self._clusters))
            self._clusters[cluster].set_issuer(issuer)
            self._describe(self.components, proxied=self.proxied)
            self.restart(f"{cluster}-apiserver")

    def follow_flux(
        self, cluster: str, namespace: str = flux.NAMESPACE, *, trust_git: bool = False
    ) -> dict[str, tuple[str, ...]]:
        """(Re)start Flux's controllers with the arguments, environment and ServiceAccounts of their Deployments.

        Needs nothing but the Deployments that somebody put into the cluster; the component flux need not be up. With
        *trust_git*, they trust the authority of the lab's Git server, as a site's machines trust the site's.
        Returns the arguments by controller.
        """
        with self._locked():
            self._load()
            self._one_of(cluster, tuple(self._clusters))
            mine = self._flux[cluster]
            told = mine.follow(namespace, self._git.ca if trust_git else None)
            rows = mine.processes()
            self._supervisor.stop(rows)
            self._start(rows, content=())
            return told

    def set_flux(
        self, cluster: str, *, lockdown: bool = True, arguments: Mapping[str, Sequence[str]] | None = None
    ) -> dict[str, tuple[str, ...]]:
        """Give the Deployments that the component flux made other arguments, and restart the controllers with them.

        *arguments* are more of them, by controller, after the lab's own. Returns all of them.
        """
        with self._locked():
            self._load()
            self._one_of(cluster, tuple(self._clusters))
            self._flux[cluster].deploy(lockdown=lockdown, arguments=arguments)
            return self.follow_flux(cluster)

    @property
    def git(self) -> git.Git:
        """The Git server (component git) and its repositories."""
        self._load()
        return self._git

    @property
    def ceph(self) -> ceph.Ceph:
        """The Ceph cluster (component ceph)."""
        self._load()
        return self._ceph

    def move_monitor(self, name: str) -> None:
        """Let a monitor of the component ceph keep its name and take other addresses; a second time, the first ones."""
        with self._locked():
            self._load()
            process = f"{ceph.COMPONENT}-mon-{name}"
            self._one_of(name, ceph.MONITORS)
            moved = self._ceph.move(name)
            self.stop(process)
            moved()
            self.start(process)

    @property
    def holders(self) -> list[Holder]:
        """People with keys."""
        self._load()
        return list(self._holders)

    def proxy(self, target: str, log: Path | None = None) -> Proxy:
        """A proxy in this process in front of an OpenBao node or a cluster, to be used with 'with'."""
        self._load()
        if target in openbao.NODES:
            return Proxy(self._openbao.server(target), self._openbao.pair(target), name=target, log=log)
        self._one_of(target, (*openbao.NODES, *self._clusters))
        cluster = self._clusters[target]
        port = self._ports.ensure([f"{_PROXY}-{target}.listen"])[f"{_PROXY}-{target}.listen"]
        path = self.state / "proxy" / f"{target}.kubeconfig"
        kube.kubeconfig(
            path,
            context=target,
            server=f"https://127.0.0.1:{port}",
            ca=cluster.authority.pair.cert,
            token=(cluster.folder / "admin-token").read_text(),
        )
        upstream = Server(cluster.url, cluster.authority.pair.cert)
        return Proxy(upstream, cluster.server_pair, name=target, log=log, port=port, kubeconfig=path)

    @staticmethod
    def _one_of(name: str, known: Sequence[str]) -> None:
        if name not in known:
            raise LabError(f"unknown {name!r}; there are {', '.join(known)}")

    # -- what is known about it ------------------------------------------------------------------------------

    def secrets(self) -> set[str]:
        """Every secret value the lab knows, in the notations in which it could show up somewhere."""
        found: set[str] = set()
        saved = self._openbao.saved()
        if saved:
            found |= {*saved.shares, *saved.shares_base64, saved.root_token}
        found |= set(self._transit.saved().values())
        found |= self._git.secrets()
        found |= self._ceph.secrets()
        if not self.state.is_dir():
            return found
        for file in self.state.rglob("*"):
            if not file.is_file():
                continue
            if file.name == "admin-token":
                found.add(file.read_text().strip())
            elif file.name == "postgres-password":
                found.add(file.read_text())
            elif file.name == "age-identity.txt":
                found |= {line.strip() for line in file.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-")}
            elif file.suffix == ".key" or file.name == "pgp-private.asc":
                text = file.read_text()
                lines = [
                    line for line in text.splitlines() if line and not line.startswith("-----") and ":" not in line
                ]
                found.add("".join(lines))
                found |= {line for line in lines if len(line) >= 40}
                found.add(base64.b64encode(text.encode()).decode())
        found.discard("")
        return found

    def describe(self) -> dict[str, Any]:
        """What lab.json says: addresses and paths, no secret values."""

        def plain(value: Any) -> Any:
            if isinstance(value, Path):
                return str(value)
            if isinstance(value, dict):
                return {key: plain(item) for key, item in value.items()}
            if isinstance(value, list | tuple):
                return [plain(item) for item in value]
            return value

        self._load()
        return {
            "name": self.name,
            "state": str(self.state),
            "components": list(self.components),
            "proxied": self.proxied,
            "inventory": str(self.state / "inventory"),
            "openbao": {
                "nodes": [plain(asdict(node)) for node in self._openbao.nodes()],
                "ca_file": str(self.openbao_ca),
                "wrong_ca_file": str(self.wrong_ca),
                "audit_log": str(self.openbao_audit_log),
                "init_file": str(self._openbao.init_file),
                "proxies": {
                    node: {
                        "address": f"https://127.0.0.1:{self._known_ports[f'{_PROXY}-{node}.listen']}",
                        "control": f"http://127.0.0.1:{self._known_ports[f'{_PROXY}-{node}.control']}",
                        "log": str(self.state / "proxy" / f"{node}.jsonl"),
                    }
                    for node in openbao.NODES
                },
            },
            "clusters": {name: plain(asdict(cluster)) for name, cluster in self.clusters.items()},
            "git": {
                "url": self._git.url,
                "http_url": self._git.http_url,
                "ssh_url": self._git.ssh_url,
                "ca_file": str(self._git.ca),
                "known_hosts": self._git.known_hosts,
            },
            "ceph": {"conf": str(self._ceph.conf), "keyring": str(self._ceph.keyring), "programs": str(self._ceph.bin)},
            "holders": [plain(asdict(holder)) for holder in self._holders],
        }

    def _describe(self, components: Sequence[str], *, proxied: bool) -> None:
        """Write lab.json and the inventories."""
        value = {**self.describe(), "components": list(components), "proxied": proxied}
        write_json(self.state / "lab.json", value)
        addresses = {
            node: f"https://127.0.0.1:{self._known_ports[f'{_PROXY}-{node}.listen']}" for node in openbao.NODES
        }
        folders = [self.state / "inventory"]
        if self.name == DEFAULT and self._default_place:
            folders.append(ROOT / "inventories" / "lab")
        for folder in folders:
            inventory.generate(
                folder,
                nodes=self._openbao.nodes() if openbao.COMPONENT in components else [],
                addresses=addresses if proxied else {},
                clusters=[cluster for name, cluster in self.clusters.items() if name in components],
                openbao_ca=self.openbao_ca,
                holders=self._holders,
            )
