# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every gate in order, shows how far it is, and ends with a summary."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

from tools import scenarios
from tools.environments import Environment, others, this, user_cache

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "tests" / "output"
COLLECTION = ".collections/ansible_collections/hackspace/infra"
#: What a test runner prints last; CI reads these lines, so they are shown as they are.
CLOSING = re.compile(r"\b\d+ (passed|failed|errors?)\b.* in [\d.]+ ?m?s|^(\w+: )?\d+ passed, \d+ failed$|no tests ran")
#: What pytest's summary says of a test that failed, and tools.scenarios of a scenario.
FAILURE = re.compile(r"^(?:(?:FAILED|ERROR) (\S+)|===== (\S+): FAILED)")
#: What tests/conftest.py prints for each test that needs what this machine does not have.
LEFT_OUT = "not run: "
#: So many failures may come from a machine that was busy for a moment; more are no accident.
SECOND_CHANCES = 6
#: Of ansible-test's sanity tests those whose outcome hangs on the Python or the ansible-core that runs them; the others
#: look at the same text again, and run on a second Python only when long gates are asked for.
OF_THE_VERSION = ("ansible-doc", "compile", "import", "validate-modules")
#: Gates of each group that run at the same time. Those without servers run beside those with servers, at a low
#: priority: they get what the others leave while they wait.
LANES = 2
LOW_PRIORITY = 10
#: The gates that take longest begin first, the longest ahead, as one that begins last runs alone in the end.
LONGEST = (
    "sanity",
    "ansible-lint",
    "unit",
    "secrets",
    "integration/ceph_consumers",
    "integration/rook",
    "integration/ceph",
    "molecule/rook_ceph_external",
    "integration/tenants",
    "integration/eso",
    "integration/check",
    "lab",
    "integration/snapshot",
    "integration/tiers_cli",
    "integration/init",
    "integration/flux_bootstrap",
    "integration/components",
    "integration/tiers_apply",
    "integration/reviewer_doctor",
    "requests",
    "molecule/platform_checks",
    "molecule/platform_components",
    "molecule/namespace_tiers",
    "molecule/openbao_seal_migration",
    "molecule/jwt_reviewer",
)
#: Quick ones that find most of what is wrong; before the long ones.
QUICKEST = ("ruff", "mypy", "yamllint", "changelog")
TICK = 120.0 if os.environ.get("CI") else 30.0


@dataclasses.dataclass(frozen=True)
class Gate:
    """One thing that must hold.

    :ivar name: what people type after ``--only``.
    :ivar proves: one clause, shown in the list.
    :ivar commands: argument lists, run one after the other until one fails.
    :ivar group: ``static`` gates need no servers, ``server`` gates wait for the lab's programs, ``long`` ones run only
        when asked for. Two of a group run at a time.
    :ivar needs: paths without which the gate fails, as it would have nothing to run.
    :ivar again: returns the command that runs only the failed tests again, of which it gets the names. Tests against
        real servers wait for elections, leases and controllers; up to ``SECOND_CHANCES`` that failed in all gates
        together get one more try, when nothing else runs, and are named in the summary.
    """

    name: str
    proves: str
    commands: tuple[tuple[str, ...], ...]
    group: t.Literal["static", "server", "long"] = "static"
    needs: tuple[str, ...] = ()
    environment: Environment | None = None
    again: t.Callable[[t.Sequence[str]], tuple[str, ...]] | None = None


@dataclasses.dataclass
class Outcome:
    """How a gate ended.

    :ivar seconds: by the clock, which hangs on what else runs.
    :ivar processor: seconds of processor time of its commands and of what they waited for, which doesn't.
    """

    gate: Gate
    passed: bool
    seconds: float
    processor: float
    closing: list[str]
    failed: list[str] = dataclasses.field(default_factory=list)
    unsteady: list[str] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)


def gates(environments: t.Sequence[Environment] = ()) -> list[Gate]:
    """Return all gates, in order. *environments* are further Pythons in which some of them run again."""
    python = sys.executable
    pytest = (python, "-m", "pytest", "-q")

    def program(name: str) -> str:
        return str(Path(python).parent / name)

    def on_servers(name: str, proves: str, path: str, group: t.Literal["server", "long"] = "server") -> Gate:
        # Each remembers its own failures.
        run = (*pytest, "-o", f"cache_dir=.cache/pytest-{name.replace('/', '-')}", path)
        again = (*run, "--last-failed", "--last-failed-no-failures", "none")
        return Gate(name, proves, (run,), group, needs=(path,), again=lambda _failed: again)

    def on_roles(subject: str, names: t.Sequence[str]) -> Gate:
        run = (python, "-m", "tools.scenarios")
        proves = "every plugin is found" if subject == "default" else "the role: twice, in check mode, verified"
        return Gate(f"molecule/{subject}", proves, ((*run, *names),), "server", again=lambda failed: (*run, *failed))

    found = [
        Gate("reuse", "every file has a licence and an owner", ((program("reuse"), "lint", "--lines"),)),
        Gate(
            "ruff",
            "Python style and likely mistakes",
            ((program("ruff"), "check", "."), (program("ruff"), "format", "--check", ".")),
        ),
        Gate(
            "mypy",
            "types, strict",
            # What other checkouts had checked counts if it is the same text.
            (
                (
                    program("mypy"),
                    f"--cache-dir={user_cache() / 'mypy'}",
                    f"{COLLECTION}/plugins",
                    "lab",
                    "tests",
                    "tools",
                ),
            ),
        ),
        Gate("yamllint", "YAML style", ((program("yamllint"), "--strict", "."),)),
        Gate(
            "ansible-lint",
            "profile production, no skips",
            ((program("ansible-lint"), "--offline", "--profile", "production", "--nocolor"),),
        ),
        Gate("changelog", "fragments and config", ((program("antsibull-changelog"), "lint"),)),
        Gate(
            "unit",
            "planning, models, structure of the house, and one error for each broken input",
            ((*pytest, "tests/unit", "tests/invalid"),),
            needs=("tests/unit", "tests/invalid"),
        ),
        Gate("docs", "documentation of plugins and links of pages", ((python, "-m", "tools.docs", "check"),)),
        Gate("sanity", "ansible-test sanity, no ignores", ((python, "-m", "tools.sanity"),)),
        Gate(
            "package",
            "the built artifact works when installed elsewhere",
            ((*pytest, "tests/package"),),
            needs=("tests/package",),
        ),
    ]
    for other in environments:
        run = str(other.python)
        found.append(
            Gate(
                f"unit-{other.name}",
                f"unit, invalid and package on {other.describe()}",
                # The rules of the house read the tree: the same on every Python.
                (
                    (
                        run,
                        "-m",
                        "pytest",
                        "-q",
                        "tests/unit",
                        "tests/invalid",
                        "tests/package",
                        "--ignore=tests/unit/house",
                    ),
                ),
                environment=other,
            )
        )
        found.append(
            Gate(
                f"sanity-{other.name}",
                f"{', '.join(OF_THE_VERSION)} of ansible-test sanity on {other.describe()}",
                ((run, "-m", "tools.sanity", *(f"--test={name}" for name in OF_THE_VERSION)),),
                environment=other,
            )
        )
        found.append(
            Gate(
                f"sanity-{other.name}-all",
                f"all of ansible-test sanity on {other.describe()}",
                ((run, "-m", "tools.sanity"),),
                "long",
                environment=other,
            )
        )
    found += [
        *(on_roles(subject, names) for subject, names in scenarios.subjects().items()),
        *(
            on_servers(
                f"integration/{folder}", "modules, roles, playbooks on real servers", f"tests/integration/{folder}"
            )
            for folder in integration_folders()
        ),
        on_servers("lab", "the lab itself", "tests/lab"),
        on_servers("secrets", "no secret in anything printed or written", "tests/secrets"),
        on_servers("requests", "requests that servers saw, against budgets", "tests/requests"),
        on_servers("long", "kill matrices and large lists", "tests/long", group="long"),
    ]
    return found


def integration_folders(root: Path = ROOT) -> list[str]:
    """Return the folders of tests/integration that hold tests, each of which is a gate."""
    places = (root / "tests" / "integration").iterdir()
    return sorted(place.name for place in places if place.is_dir() and any(place.rglob("test_*.py")))


def clean_environment() -> dict[str, str]:
    """Return the environment for gates: this Python first in PATH, nothing of the caller's Ansible or Vault."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "VAULT_", "BAO_", "MOLECULE_"))}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    kept["PYTHONUNBUFFERED"] = "1"
    kept["NO_COLOR"] = "1"
    kept["ANSIBLE_NOCOLOR"] = "1"
    for name in ("CLICOLOR_FORCE", "FORCE_COLOR", "PY_COLORS", "KUBECONFIG"):
        kept.pop(name, None)
    kept.setdefault("LC_ALL", "C.UTF-8")
    return kept


def _end(child: subprocess.Popen[bytes]) -> None:
    """Interrupt a gate as Ctrl-C would, so that pytest takes its labs down; then insist."""
    for signum, patience in ((signal.SIGINT, 60), (signal.SIGTERM, 10), (signal.SIGKILL, None)):
        os.killpg(child.pid, signum)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return


class Runner:
    """Runs gates; remembers what it started, so that an interruption leaves nothing behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: set[subprocess.Popen[bytes]] = set()
        self.stopped = threading.Event()
        self.builds: subprocess.Popen[bytes] | None = None
        self.build_log = OUTPUT / "build.log"

    def say(self, text: str) -> None:
        with self._lock:
            print(text, flush=True)

    # -- the lab's programs ------------------------------------------------------------------------------------------

    def start_builds(self) -> None:
        """Build the lab's programs in the background, at low priority, while the static gates run."""
        with self.build_log.open("wb") as log:
            self.builds = subprocess.Popen(
                ["nice", "-n", "10", sys.executable, "-m", "lab", "build"],
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def build_line(self) -> str:
        """Return the last thing the build said, while it runs."""
        if self.builds is None or self.builds.poll() is not None:
            return ""
        lines = self.build_log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else ""

    def wait_for_builds(self) -> bool:
        """Wait for the lab's programs, showing progress; tell whether they are there."""
        if self.builds is None:
            return True
        begin = shown = time.monotonic()
        while self.builds.poll() is None:
            if self.stopped.wait(0.5):
                return False
            if time.monotonic() - shown >= TICK:
                shown = time.monotonic()
                self.say(f"  builds: {self.build_line()}")
        waited = time.monotonic() - begin
        if self.builds.returncode:
            tail = self.build_log.read_text(errors="replace").splitlines()[-30:]
            self.say("FAILED  builds of the lab's programs:\n    " + "\n    ".join(tail))
            return False
        self.say(f"ok      builds of the lab's programs (waited {waited:.0f} s)")
        return True

    # -- gates -------------------------------------------------------------------------------------------------------

    def run(self, gate: Gate) -> Outcome:
        """Run one gate; its whole output goes to a file."""
        begin = time.monotonic()
        missing = [path for path in gate.needs if not any((ROOT / path).rglob("test_*.py"))]
        if missing:
            outcome = Outcome(gate, False, 0.0, 0.0, [f"nothing to run: no tests in {', '.join(missing)}"])
            self._show(outcome, [])
            return outcome
        log = self._log(gate)
        code, processor = 0, 0.0
        with log.open("wb") as stream:
            for command in gate.commands:
                code, used = self._command(gate, command, stream, begin)
                processor += used
                if code or self.stopped.is_set():
                    break
        outcome = self._outcome(gate, code, time.monotonic() - begin, processor)
        self._show(outcome, _lines(log))
        return outcome

    def once_more(self, outcome: Outcome) -> Outcome:
        """Run again, alone, what failed in a gate."""
        gate, log = outcome.gate, self._log(outcome.gate)
        if gate.again is None:
            return outcome
        self.say(f"  {gate.name}: once more, alone: {', '.join(outcome.failed)}")
        begin = time.monotonic()
        with log.open("ab") as stream:
            code, used = self._command(gate, gate.again(outcome.failed), stream, begin)
        seconds = outcome.seconds + time.monotonic() - begin
        second = self._outcome(gate, code, seconds, outcome.processor + used)
        self._show(second, _lines(log))
        second.left_out = outcome.left_out
        second.unsteady = outcome.failed if second.passed else []
        return second

    def _log(self, gate: Gate) -> Path:
        return OUTPUT / f"{gate.name.replace('/', '-')}.log"

    def _outcome(self, gate: Gate, code: int, seconds: float, processor: float) -> Outcome:
        lines = _lines(self._log(gate))
        closing = [line for line in lines if CLOSING.search(line)][-1:] or lines[-1:]
        return Outcome(
            gate,
            passed=code == 0 and not self.stopped.is_set(),
            seconds=seconds,
            processor=processor,
            closing=closing,
            # 1: tests failed. Anything else broke off, and what the log names is not all of it.
            failed=_failures(lines) if code == 1 else [],
            left_out=list(dict.fromkeys(line for line in lines if line.startswith(LEFT_OUT))),
        )

    def _command(self, gate: Gate, command: tuple[str, ...], stream: t.IO[bytes], begin: float) -> tuple[int, float]:
        """Return the command's exit code and its seconds of processor time."""
        environment = clean_environment()
        if gate.environment:
            environment["PATH"] = f"{gate.environment.python.parent}{os.pathsep}{environment['PATH']}"
        child = subprocess.Popen(
            ["nice", "-n", str(LOW_PRIORITY), *command] if gate.group == "static" else list(command),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with self._lock:
            self._started.add(child)
        shown = time.monotonic()
        used = 0.0
        try:
            while True:
                ended, status, usage = os.wait4(child.pid, os.WNOHANG)
                if ended:
                    child.returncode, used = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
                    break
                if self.stopped.wait(0.1):
                    break
                if time.monotonic() - shown >= TICK:
                    shown = time.monotonic()
                    build = self.build_line()
                    self.say(f"  {gate.name}: {shown - begin:.0f} s" + (f"   | builds: {build}" if build else ""))
        finally:
            if child.poll() is None:
                _end(child)
            with self._lock:
                self._started.discard(child)
        return child.returncode, used

    def _show(self, outcome: Outcome, lines: list[str]) -> None:
        gate = outcome.gate
        word = "ok    " if outcome.passed else "FAILED"
        self.say(
            f"{word}  {gate.name} ({outcome.seconds:.0f} s, {outcome.processor:.0f} s of processor time): {gate.proves}"
        )
        if outcome.passed:
            for line in outcome.closing:
                self.say(line)
        else:
            shown = [line for line in lines if FAILURE.match(line)][-10:]
            shown += lines[-60:] if lines else outcome.closing
            self.say("\n".join(f"    {line}" for line in shown))
            for line in outcome.closing:
                if CLOSING.search(line):
                    self.say(line)
            self.say(f"    the whole output: tests/output/{self._log(gate).name}")

    def stop(self) -> None:
        """End what this runner started."""
        self.stopped.set()
        if self.builds is not None and self.builds.poll() is None:
            self.builds.send_signal(signal.SIGTERM)
            self.builds.wait(30)


def _lines(log: Path) -> list[str]:
    return [line.rstrip() for line in log.read_text(errors="replace").splitlines() if line.strip()]


def _failures(lines: t.Iterable[str]) -> list[str]:
    """Return the tests or scenarios that the summary at the end of a log names."""
    return sorted({found[1] or found[2] for line in lines if (found := FAILURE.match(line))})


def choose(all_gates: t.Sequence[Gate], only: t.Sequence[str], group: str | None, *, long: bool) -> list[Gate]:
    """Return the gates asked for.

    :raises SystemExit: for a name that is no gate.
    """

    def named(gate: Gate) -> bool:
        return gate.name in only or gate.name.split("/")[0] in only

    names = {gate.name for gate in all_gates}
    unknown = sorted(set(only) - names - {name.split("/")[0] for name in names})
    if unknown:
        raise SystemExit(f"no such gate: {', '.join(unknown)}; there are {', '.join(g.name for g in all_gates)}")
    if only:
        return [gate for gate in all_gates if named(gate)]
    return [
        gate
        for gate in all_gates
        if (group is None or gate.group == group) and (long or gate.group != "long" or group == "long")
    ]


def in_order(chosen: t.Sequence[Gate]) -> list[Gate]:
    """Return the gates in the order in which they begin: the quickest, the longest, the rest."""
    known = {name: place for place, name in enumerate((*QUICKEST, *LONGEST))}
    # What runs on another Python is about as long as on this one.
    return sorted(chosen, key=lambda gate: known.get(gate.name, known.get(gate.name.rpartition("-")[0], len(known))))


def _run_all(runner: Runner, chosen: t.Sequence[Gate]) -> list[Outcome]:
    # reuse asks git once which files are ignored; files that others make meanwhile would count as unlicensed.
    outcomes = [runner.run(gate) for gate in chosen if gate.name == "reuse"]
    static = [gate for gate in chosen if gate.group == "static" and gate.name != "reuse"]
    rest = [gate for gate in chosen if gate.group != "static"]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        without, on_servers = pool.submit(_in_lanes, runner, static), pool.submit(_with_servers, runner, rest)
        try:
            outcomes += without.result()
            served = on_servers.result()
        except BaseException:
            runner.stop()
            raise
    outcomes += second_chances(runner, served)
    place = {gate.name: number for number, gate in enumerate(chosen)}
    return sorted(outcomes, key=lambda outcome: place[outcome.gate.name])


def _with_servers(runner: Runner, chosen: t.Sequence[Gate]) -> list[Outcome]:
    if chosen and not runner.wait_for_builds():
        return [Outcome(gate, False, 0.0, 0.0, ["not run: the lab's programs could not be built"]) for gate in chosen]
    return _in_lanes(runner, chosen)


def _in_lanes(runner: Runner, chosen: t.Sequence[Gate]) -> list[Outcome]:
    def run(gate: Gate) -> Outcome:
        return Outcome(gate, False, 0.0, 0.0, ["not run"]) if runner.stopped.is_set() else runner.run(gate)

    with concurrent.futures.ThreadPoolExecutor(max_workers=LANES) as pool:
        return list(pool.map(run, in_order(chosen)))


def second_chances(runner: Runner, outcomes: t.Sequence[Outcome]) -> list[Outcome]:
    """Run what failed once more, one gate after the other, unless too much did."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    count = sum(len(outcome.failed) for outcome in failed)
    told = all(outcome.failed and outcome.gate.again for outcome in failed)
    if not failed or not told or count > SECOND_CHANCES or runner.stopped.is_set():
        return list(outcomes)
    return [outcome if outcome.passed else runner.once_more(outcome) for outcome in outcomes]


def _options(arguments: t.Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/test", description="Run the gates that CI runs.")
    parser.add_argument("--list", action="store_true", help="say which gates there are")
    parser.add_argument("--only", default="", metavar="GATE,...", help="these gates only")
    parser.add_argument("--group", choices=["static", "server", "long"], help="the gates of this group only")
    parser.add_argument("--all", action="store_true", help="the long ones too")
    return parser.parse_args(arguments)


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run the gates asked for; returns the exit code."""
    options = _options(arguments)
    environments, absent = others(ROOT)
    everything = gates(environments)
    if options.list:
        width = max(len(gate.name) for gate in everything)
        for gate in everything:
            print(f"{gate.name:<{width}}  {gate.group:<6}  {gate.proves}")
        return 0
    chosen = choose(everything, [x for x in options.only.split(",") if x], options.group, long=options.all)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    runner = Runner()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()
    runner.say(f"{len(chosen)} gates on {this().describe()}" + "".join(f", {e.describe()}" for e in environments))
    if any(gate.group != "static" for gate in chosen):
        runner.start_builds()
    try:
        for environment in {gate.environment for gate in chosen if gate.environment}:
            environment.prepare(ROOT, runner.say)
        outcomes = _run_all(runner, chosen)
    except KeyboardInterrupt:
        runner.stop()
        runner.say("interrupted; what this run started has been stopped")
        return 130
    finally:
        runner.stop()
    return _summary(runner, outcomes, absent, time.monotonic() - begin)


def _summary(runner: Runner, outcomes: t.Sequence[Outcome], absent: t.Sequence[str], seconds: float) -> int:
    width = max((len(o.gate.name) for o in outcomes), default=0)
    runner.say("")
    for line in (line for outcome in outcomes for line in outcome.left_out):
        runner.say(line)
    for outcome in outcomes:
        mark = "ok    " if outcome.passed else "FAILED"
        closing = outcome.closing[0].strip("= ") if outcome.closing else ""
        times = f"{outcome.seconds:6.0f} s {outcome.processor:6.0f} s"
        runner.say(f"{mark}  {outcome.gate.name:<{width}}  {times}  {closing[:90]}")
    for outcome in outcomes:
        for name in outcome.unsteady:
            runner.say(f"unsteady: {name} failed in the run of {outcome.gate.name} and passed when run again alone")
    for line in absent:
        runner.say(f"not here: {line}")
    failed = sum(not outcome.passed for outcome in outcomes)
    runner.say(f"all gates took {seconds / 60:.1f} min")
    runner.say(f"gates: {len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
