# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""All clusters at once: read, plan, stop if anything must not be done, then write, verify, and take away what is old.

A cluster that fails does not hold up the others: they are finished, and one error at the end names each that failed and
its hop. What is wrong in the declaration, and what is not ours, is said before anything is written anywhere.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import pathlib
import traceback
import typing as t
from collections.abc import Mapping

from .._core.errors import HackspaceError, InvalidInput, Refused
from .._core.plan import Change, Plan
from .._openbao.ports import Upstream
from . import access, migrate, modes, older_modes, prune, read, verify
from .apply import Applier
from .claims import rfc3339
from .evidence import Evidence
from .model import Cluster, Settings, check_together
from .modes import Wiring
from .plan import plan as plan_cluster
from .ports import Downstream, data
from .state import ADOPTING, State, is_ours, mode_of
from .steps import Bao

#: Clusters handled at once.
WORKERS: t.Final = 10


@dataclasses.dataclass
class Link:
    """One cluster on its way through a run.

    :ivar bao: a connection of its own.
    :ivar way: how its mount comes to the type that the mode wants.
    :ivar target: the cluster with the mount that this run configures and proves.
    :ivar error: why it cannot go on.
    :ivar proved: what the verification proved; ``None`` where there was none.
    """

    cluster: Cluster
    kube: Downstream
    bao: Upstream
    state: State = dataclasses.field(default_factory=State)
    wiring: Wiring | None = None
    way: migrate.Way | None = None
    target: Cluster | None = None
    plan: Plan = dataclasses.field(default_factory=Plan)
    applier: Applier | None = None
    uids: set[str] | None = None
    proved: list[str] | None = None
    error: HackspaceError | None = None

    @property
    def evidence(self) -> Evidence | None:
        """What is known of the token that OpenBao holds after this run."""
        if self.applier is not None and self.applier.evidence is not None:
            return self.applier.evidence
        current = self.state.standing.current
        return current.evidence if current else None

    @property
    def secret(self) -> str | None:
        """Name of the Secret that this token is bound to."""
        if self.applier is not None and self.applier.secret:
            return self.applier.secret
        current = self.state.standing.current
        return current.name if current else None


@dataclasses.dataclass
class Outcome:
    """What a run did, or would do.

    :ivar plan: of all clusters, in the order of the list.
    :ivar clusters: a report for each.
    :ivar requests: sent to OpenBao and all API servers.
    """

    plan: Plan
    clusters: list[dict[str, t.Any]]
    requests: int


class Engine:
    """Wires clusters to OpenBao.

    :param bao: the login of this run.
    :param links: clusters that are :func:`~.model.completed`, with their connections.
    :param clock: returns seconds since 1970.
    :param look: takes address and CA of an API server; returns rule and sentence when TLS under that CA alone fails,
        ``None`` when it works or the server cannot be reached from here.
    """

    def __init__(
        self,
        bao: Upstream,
        clusters: t.Sequence[tuple[Cluster, Downstream]],
        settings: Settings,
        *,
        check: bool,
        clock: t.Callable[[], float],
        look: t.Callable[[str, str], tuple[str, str] | None],
    ) -> None:
        check_together([cluster for cluster, _kube in clusters])
        self._bao = bao
        self._settings = settings
        self._check = check
        self._clock = clock
        self._look = look
        self._links = [Link(cluster, kube, bao) for cluster, kube in clusters]
        self._mounts: dict[str, Mapping[str, t.Any]] = {}
        self._aliases: dict[str, Mapping[str, t.Any]] = {}
        self._shared = Plan()
        self._pruned: list[Change] = []
        self._prune_error: HackspaceError | None = None

    def run(self) -> Outcome:
        """Do it.

        :raises InvalidInput, Refused: before anything is written.
        :raises HackspaceError: rule ``clusters-failed``, after the others are finished.
        """
        if self._settings.prune:
            self._aliases = prune.aliases(self._bao)
        self._mounts = _by_path(data(self._bao, "sys/auth") or {})
        for link in self._links:
            link.bao = self._bao.clone()
        try:
            self._all(self._read)
            self._all(self._plan)
            self._stop_if_wrong()
            if self._settings.prune:
                self._plan_shared()
            if not self._check:
                self._all(self._add)
                self._all(self._verify)
                self._all(self._finish)
                self._prune_shared()
        finally:
            for link in self._links:
                self._bao.requests += link.bao.requests
                link.bao.close()
        return self._outcome()

    def _all(self, work: t.Callable[[Link], None]) -> None:
        """Do *work* for all clusters that have not failed, at the same time; keep the errors."""

        def one(link: Link) -> None:
            try:
                work(link)
            except HackspaceError as error:
                link.error = error
            except Exception as error:  # pylint: disable=broad-except # the others go on
                link.error = _defect(error, link.cluster.item)

        ready = [link for link in self._links if link.error is None]
        if not ready:
            return
        with concurrent.futures.ThreadPoolExecutor(min(WORKERS, len(ready))) as threads:
            list(threads.map(one, ready))

    # -- before anything is written ----------------------------------------------------------------------------------

    def _read(self, link: Link) -> None:
        cluster, settings = link.cluster, self._settings
        path = migrate.worked_by(self._mounts, cluster.mount)
        there = self._mounts.get(path)
        previous = mode_of(there)
        link.way = migrate.way(self._mounts, cluster.mount, modes.mount_type(cluster))
        # a mount left in this mode has nothing of another one downstream, and this one needs no RBAC there
        rbac = not cluster.mode == previous == "jwt_pubkeys"
        link.state = read.read_downstream(link.kube, cluster, settings, modes.reads(cluster, previous), rbac=rbac)
        # tokens of a tenant name the issuer where the cluster's own API server has to take them
        current = link.state.standing.current
        known = current.evidence.issuer if current and current.evidence else ""
        issuer = cluster.issuer or link.state.issuer or known
        link.cluster = cluster = dataclasses.replace(cluster, issuer=issuer)
        link.target = dataclasses.replace(cluster, mount=link.way.target)
        mounts = {path: entry for path, entry in self._mounts.items() if path not in link.way.stale}
        link.state = read.read_upstream(link.bao, link.target, settings, link.state, mounts, names=settings.prune)
        text = link.state.policies.get(cluster.policy, "")
        named = migrate.still_named(self._mounts, link.way, text, now=self._clock(), ttl=cluster.access.ttl)
        recognised = None
        if there is not None and older_modes.looks(there, previous):
            config = data(link.bao, f"auth/{path}/config")
            recognised = older_modes.recognise(cluster, there, config, older_modes.read(link.kube))
        link.state = dataclasses.replace(link.state, previous=previous, retired=named, recognised=recognised)
        if settings.prune:
            link.uids = read.service_account_uids(link.kube)

    def _plan(self, link: Link) -> None:
        cluster, settings, now = link.target or link.cluster, self._settings, self._clock()
        link.wiring = modes.wiring(cluster, settings, link.state, now=now)
        known = {one.rstrip("/") for one in link.state.noted_audiences}
        if not self._check and cluster.audience.rstrip("/") in known:  # what was noted may have changed since
            link.state = dataclasses.replace(link.state, audiences=read.own_audiences(link.kube))
        link.plan = self._planned(link, link.wiring, now)
        if not self._check and not known and link.plan.changed:
            link.state = dataclasses.replace(link.state, audiences=read.own_audiences(link.kube))
            link.plan = self._planned(link, link.wiring, now)
        self._trust(link, link.wiring)
        if not self._blind(link):
            return
        if self._check:
            if not link.state.tells_token:
                link.plan.warnings.append(
                    f"{cluster.name}: this server does not tell if it still holds the reviewer's token;"
                    " a run proves it by a login."
                )
            return
        link.state = dataclasses.replace(link.state, probed=verify.probe(link.bao, link.kube, cluster))
        link.plan = self._planned(link, link.wiring, now)

    def _trust(self, link: Link, wiring: Wiring) -> None:
        """Look at the API server under the CA that is about to be written.

        A login alone would not find a wrong one: OpenBao goes on with a connection that it has open.
        """
        cluster = link.cluster
        if "kubernetes_host" not in wiring.config or not self._writes_config(link):
            return
        problem = self._look(cluster.api_server, cluster.ca_pem)
        if problem is not None:
            raise HackspaceError(
                f"{cluster.api_server} does not pass under the CA that OpenBao is to trust alone: {problem[1]}.",
                item=f"{cluster.item}.ca_cert",
                rule=problem[0],
                fix="give the CA that signed the API server's certificate, and an address that is in it.",
            )

    @staticmethod
    def _writes_config(link: Link) -> bool:
        return any(c.kind == "auth mount configuration" for c in link.plan.changes)

    def _planned(self, link: Link, wiring: Wiring, now: float) -> Plan:
        """Return the plan of a cluster, with the change of places of its mounts where the type of its mount differs."""
        cluster, mounts = link.cluster, self._mounts
        if link.way is None or link.target is None:
            return Plan()
        here = mounts.get(cluster.mount) or {}
        if here and here.get("type") not in ("kubernetes", "jwt"):
            raise Refused(
                f"the auth mount {cluster.mount} is of type {here.get('type')}.",
                item=cluster.item,
                rule="mount-type",
                fix="take another mount for this cluster, or delete that one by hand first.",
            )
        if link.state.previous == ADOPTING and not self._settings.adopt:
            raise Refused(
                f"the adoption of the auth mount {cluster.mount} was interrupted.",
                item=cluster.item,
                rule="foreign",
                fix="run with adopt: true once more, so that what it worked by before is taken away.",
                data={"foreign": [f"{cluster.name}: auth mount {cluster.mount}"]},
            )
        aside = migrate.foreign(mounts, link.way)
        if aside:
            raise Refused(
                f"these auth mounts are in the way of a move and are not marked as ours: {', '.join(aside)}.",
                item=cluster.item,
                rule="foreign",
                fix="rename them or delete them by hand; adopt does not take them.",
                data={"foreign": [f"{cluster.name}: auth mount {path}" for path in aside]},
            )
        foreign = [cluster.mount] if link.way.moves and here and not is_ours(here) else []
        if foreign and not self._settings.adopt:
            how = f" It works like mode {link.state.recognised.mode}." if link.state.recognised else ""
            raise Refused(
                f"these auth mounts exist and are not marked as ours: {', '.join(foreign)}.{how}",
                item=cluster.item,
                rule="foreign",
                fix="look at the difference (--check --diff, adopt: true), then set adopt: true; or take other names.",
                data={"foreign": [f"{cluster.name}: auth mount {path}" for path in foreign]},
            )
        result = plan_cluster(link.target, self._settings, link.state, wiring, now=now)
        before = migrate.first(cluster, mounts, link.way)
        after = migrate.last(cluster, mounts, link.way, wiring.mount_type)
        result.changes = migrate.arranged(result.changes, before, after)
        return result

    def _blind(self, link: Link) -> bool:
        """Say if all looks well, and only a login can tell if OpenBao still holds this token, or any."""
        wiring = link.wiring
        if wiring is None or not (wiring.reviewer or wiring.fetch_token) or self._settings.verify == "never":
            return False
        kinds = {c.kind for c in link.plan.changes}
        return not kinds & {"reviewer token", "auth mount configuration"} and read.can_probe(link.state, link.cluster)

    def _stop_if_wrong(self) -> None:
        """Raise what must be put right before anything is written, whichever cluster it is about."""
        wrong = [link for link in self._links if isinstance(link.error, InvalidInput | Refused)]
        for link in wrong:
            if isinstance(link.error, InvalidInput):
                raise link.error
        foreign = sorted(
            name for link in wrong for name in (link.error.data.get("foreign") or [] if link.error else [])
        )
        for link in wrong:
            if link.error is not None:
                if foreign:
                    link.error.data["foreign"] = foreign
                raise link.error

    def _plan_shared(self) -> None:
        clusters = [link.cluster for link in self._links]
        there = prune.read(self._bao, clusters, self._settings, self._mounts, self._aliases)
        live = {link.cluster.name: link.uids for link in self._links if link.error is None and link.uids is not None}
        named = {accessor for link in self._links for accessor in link.state.retired}
        self._shared = prune.plan(there, clusters, self._settings, live, named=named)
        there = prune.read_entities(self._bao, there, self._shared)
        if there.entities:
            self._shared = prune.plan(there, clusters, self._settings, live, named=named)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _add(self, link: Link) -> None:
        if link.wiring is None:
            return
        link.applier = Applier(
            link.bao,
            link.kube,
            link.target or link.cluster,
            settings=self._settings,
            state=link.state,
            wiring=link.wiring,
        )
        link.applier.add(link.plan)

    def _verify(self, link: Link) -> None:
        wanted = self._settings.verify
        if wanted == "never" or link.wiring is None:
            return
        if wanted == "on_change" and not any(c.action != "delete" for c in link.plan.changes):
            if link.state.probed:
                link.proved = ["login"]
            return
        reviewer = link.wiring.reviewer or link.wiring.fetch_token is not None
        verifier = verify.Verifier(
            link.bao,
            link.kube,
            link.target or link.cluster,
            self._settings,
            other=self._other(link),
            stranger=link.cluster.service_account if reviewer else "default",
            patience=verify.PATIENCE_CA if self._new_ca(link) else verify.PATIENCE,
        )
        link.proved = verifier.verify()
        link.plan.warnings += verifier.warnings

    def _other(self, link: Link) -> tuple[Cluster, Downstream] | None:
        """Return the next cluster in the list with another CA, so that its token must be refused here."""
        at = self._links.index(link)
        for other in self._links[at + 1 :] + self._links[:at]:
            if other.error is None and other.cluster.ca_fingerprint != link.cluster.ca_fingerprint:
                return other.cluster, other.kube
        return None

    def _new_ca(self, link: Link) -> bool:
        return link.state.config is not None and self._writes_config(link)

    def _finish(self, link: Link) -> None:
        if link.applier is not None:
            link.applier.finish(link.plan, lambda: self._moved(link))

    def _moved(self, link: Link) -> None:
        """Prove that the mount works at the path of the tenants."""
        if self._settings.verify != "never" and not verify.probe(link.bao, link.kube, link.cluster):
            raise HackspaceError(
                f"the canary's login was refused after auth/{link.cluster.mount} has become one of another type.",
                item=link.cluster.item,
                rule="verify-moved",
                fix="set the mode back and run again: the mount that was there is put back.",
            )

    def _prune_shared(self) -> None:
        """Delete what belongs to no cluster; not while one has failed, as that is no time for deleting."""
        if any(link.error is not None for link in self._links):
            return
        try:
            for change in self._shared.changes:
                for step in t.cast(tuple[Bao, ...], change.payload or ()):
                    self._bao.request(step.method, step.path, ok=(200, 204, 404))
                self._pruned.append(change)
        except HackspaceError as error:
            self._prune_error = error
        except Exception as error:  # pylint: disable=broad-except # what is done must be told
            self._prune_error = _defect(error, "prune")

    # -- afterwards --------------------------------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        whole = Plan()
        for link in self._links:
            whole.extend(link.plan)
        whole.extend(self._shared)
        kubes = {id(link.kube): link.kube for link in self._links}
        requests = self._bao.requests + sum(kube.requests for kube in kubes.values())
        outcome = Outcome(whole, [self._report(link) for link in self._links], requests)
        failed = [link for link in self._links if link.error is not None]
        if failed:
            raise self._failure(failed, outcome)
        if self._prune_error is not None:
            self._prune_error.data |= self._so_far([], outcome)
            raise self._prune_error
        return outcome

    def _failure(self, failed: list[Link], outcome: Outcome) -> HackspaceError:
        told = [
            {
                "cluster": link.cluster.name,
                "hop": link.error.rule if link.error else "",
                "message": str(link.error),
                "status": link.error.status if link.error else None,
            }
            for link in failed
        ]
        listed = " ".join(f"{one['cluster']}: {one['message']}" for one in told)
        rest = len(self._links) - len(failed)
        return HackspaceError(
            f"{len(failed)} of {len(self._links)} clusters failed ({rest} finished). {listed}",
            item="clusters",
            rule="clusters-failed",
            fix="put right what is named and run again; the next run finishes the work.",
            data=self._so_far(told, outcome),
        )

    def _so_far(self, told: list[dict[str, t.Any]], outcome: Outcome) -> dict[str, t.Any]:
        """Return what a run that failed tells of what it did."""
        changes = [c for link in self._links if link.applier for c in link.applier.done] + self._pruned
        done = [c.report() for c in changes]
        return {
            "failed": True,
            "failures": told,
            "changed": bool(done),
            "changes": done,
            "clusters": outcome.clusters,
        }

    def _report(self, link: Link) -> dict[str, t.Any]:
        cluster, evidence, now = link.cluster, link.evidence, self._clock()
        accessor = link.applier.accessor if link.applier else link.state.accessor
        reviewer: dict[str, t.Any] | None = None
        if link.wiring is not None and link.wiring.reviewer:
            reviewer = {
                "namespace": cluster.namespace,
                "service_account": cluster.service_account,
                "secret": link.secret,
                "expires_at": rfc3339(evidence.expires) if evidence else None,
                "seconds_left": evidence.seconds_left(now) if evidence else None,
                "fingerprint": evidence.fingerprint if evidence else None,
            }
        return {
            "name": cluster.name,
            "mode": cluster.mode,
            "mount": cluster.mount,
            "audience": cluster.audience,
            "api_server": cluster.api_server,
            "accessor": accessor or None,
            "roles": [b.role for b in access.bindings(cluster)],
            "policies": sorted(access.policies(cluster, self._settings, ())),
            "reviewer": reviewer,
            "verified": bool(link.proved) if link.proved is not None else None,
            "proved": link.proved or [],
            "changed": link.plan.changed,
            "failed": link.error is not None,
            "hop": link.error.rule if link.error else None,
        }


def _defect(error: Exception, item: str) -> HackspaceError:
    """Return an error that names type and place only: the text of an exception could quote a secret."""
    places = traceback.extract_tb(error.__traceback__)
    at = f"{pathlib.PurePath(places[-1].filename).name}:{places[-1].lineno}" if places else "an unknown place"
    return HackspaceError(
        f"unexpected {type(error).__name__} at {at}.", item=item, rule="defect", fix="report it with the place."
    )


def _by_path(answer: Mapping[str, t.Any]) -> dict[str, Mapping[str, t.Any]]:
    return {path.strip("/"): entry for path, entry in answer.items() if isinstance(entry, dict) and "accessor" in entry}
