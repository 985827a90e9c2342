# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the house. Each takes the root of a tree and returns findings, one sentence per breach."""

from __future__ import annotations

import ast
import re
import subprocess
import typing as t
from pathlib import Path

import yaml

COLLECTION = "ansible_collections.hackspace.infra.plugins"

#: Domain packages that a domain package may import besides itself and _core.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "_core": frozenset(),
    "_clients": frozenset({"_kube", "_ceph"}),  # records and protocols only; decisions stay in the domain
    "_kube": frozenset(),
    "_openbao": frozenset({"_kube"}),
    "_reviewers": frozenset({"_kube", "_openbao"}),
    "_eso": frozenset({"_kube"}),
    "_tiers": frozenset({"_kube"}),
    "_tenants": frozenset({"_kube", "_openbao", "_eso", "_tiers", "_flux"}),
    "_flux": frozenset({"_kube"}),
    "_components": frozenset({"_kube"}),
    "_ceph": frozenset({"_kube"}),
    "_rook": frozenset({"_kube", "_ceph", "_eso"}),
    "_talos": frozenset({"_kube"}),
    "_pve": frozenset({"_kube"}),
    "_graph": frozenset({"_kube"}),
}

_SELF = "tests/unit/house/"
_TEXT = {".py", ".yml", ".yaml", ".md", ".toml", ".cfg", ".ini", ".j2", ".sh", ".txt", ".json", ""}


def files(root: Path) -> list[str]:
    """Return the files of the tree: what git knows or would add, or everything where there is no git."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            check=True,
        ).stdout.decode()
        names = [name for name in listed.split("\0") if name]
    else:
        names = [str(path.relative_to(root)) for path in root.rglob("*")]
    return sorted({n for n in names if (root / n).is_file() and not (root / n).is_symlink()})


def _python(root: Path, *tops: str) -> t.Iterator[tuple[str, ast.Module]]:
    for name in files(root):
        if name.endswith(".py") and name.startswith(tops):
            yield name, ast.parse((root / name).read_text(encoding="utf-8"))


def _yaml(path: Path) -> t.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _modules(root: Path) -> list[str]:
    return sorted(p.stem for p in (root / "plugins" / "modules").glob("*.py") if p.stem != "__init__")


def _roles(root: Path) -> list[Path]:
    return sorted(p for p in (root / "roles").glob("*") if p.is_dir())


# -- which way dependencies point ----------------------------------------------------------------------------------


def _imports(name: str, tree: ast.Module) -> t.Iterator[str]:
    """Yield what a file imports as dotted names; relative ones as ``plugins.<...>`` of this collection."""
    package = name.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
                stem = ".".join([*base, node.module] if node.module else base)
            else:
                stem = node.module or ""
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def _package(dotted: str) -> str | None:
    """Return the package below module_utils that an import leads to."""
    dotted = dotted.replace(COLLECTION, "plugins", 1)
    match = re.match(r"plugins\.module_utils\.(_\w+)", dotted)
    return match.group(1) if match else None


def dependency_direction(root: Path) -> list[str]:
    """Domain packages import _core and what MAY_IMPORT names; nothing below module_utils imports what stands above."""
    found = set()
    for name, tree in _python(root, "plugins/module_utils/"):
        parts = name.split("/")
        own = parts[2]
        if own.endswith(".py"):
            found.add(f"{name}: a file directly in module_utils; put it into a package")
            continue
        if own not in MAY_IMPORT:
            found.add(f"{name}: {own} is no package of the design")
            continue
        for dotted in _imports(name, tree):
            other = _package(dotted)
            if other and other not in ({own, "_core"} | MAY_IMPORT[own]):
                found.add(f"{name}: {own} must not import {other}")
            above = re.match(
                r"plugins\.(modules|filter|action|lookup|plugin_utils)\b", dotted.replace(COLLECTION, "plugins")
            )
            if above:
                found.add(f"{name}: module_utils must not import {above.group(1)}")
    return sorted(found)


def lab_apart(root: Path) -> list[str]:
    """The lab imports nothing of plugins or tests, and plugins nothing of the lab, tools or tests."""
    found = set()
    for name, tree in _python(root, "lab/", "plugins/", "tools/"):
        top = name.split("/")[0]
        for dotted in _imports(name, tree):
            leads = dotted.replace(COLLECTION, "plugins").split(".")[0]
            wrong = {"lab", "plugins", "tests", "tools"} - {top}
            if leads in wrong or (top != "plugins" and dotted.startswith("ansible_collections.hackspace")):
                found.add(f"{name}: {top} must not import {leads}")
    return sorted(found)


# -- roles ---------------------------------------------------------------------------------------------------------


def role_files(root: Path) -> list[str]:
    """Every role has what a role of this house has."""
    wanted = (
        "README.md",
        "defaults/main.yml",
        "meta/argument_specs.yml",
        "meta/main.yml",
        "tasks/main.yml",
        "tasks/preflight.yml",
    )
    return [
        f"roles/{role.name}: {name} is missing"
        for role in _roles(root)
        for name in wanted
        if not (role / name).is_file()
    ]


def role_scenarios(root: Path) -> list[str]:
    """Every role has a default and an alternative scenario that converge and verify it."""
    found = []
    for role in _roles(root):
        for kind in ("default", "alternative"):
            folder = root / "molecule" / f"{role.name}_{kind}"
            for name in ("molecule.yml", "converge.yml", "verify.yml"):
                if not (folder / name).is_file():
                    found.append(f"molecule/{folder.name}: {name} is missing")
            converge = folder / "converge.yml"
            if converge.is_file() and f"hackspace.infra.{role.name}" not in converge.read_text(encoding="utf-8"):
                found.append(f"molecule/{folder.name}: converge.yml does not run hackspace.infra.{role.name}")
    return found


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (float,),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
    "any": (object,),
}


def _templated(value: object) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(_templated(v) for v in value.values())
    if isinstance(value, list):
        return any(_templated(v) for v in value)
    return False


def _has_type(value: object, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted in ("bool", "raw", "any")
    return isinstance(value, _TYPES.get(wanted, ()))


def _option(where: str, key: str, option: dict[str, t.Any], defaults: dict[str, t.Any]) -> t.Iterator[str]:
    text = option.get("description") or ""
    text = " ".join(text) if isinstance(text, list) else str(text)
    if not text.strip():
        yield f"{where}: {key} has no description"
    if option.get("required"):
        if key in defaults:
            yield f"{where}: {key} is required and has a default in defaults/main.yml"
        return
    if key not in defaults:
        yield f"{where}: {key} is in argument_specs and not in defaults/main.yml"
        return
    value = defaults[key]
    if _templated(value):
        if "default" in option:
            yield f"{where}: {key} is computed in defaults/main.yml; describe that instead of giving a default"
        if not re.search(r"\bdefault\b|\bFrom\b|\bempty\b", text):
            yield f"{where}: {key} is computed in defaults/main.yml; its description must say what the default is"
        return
    if "default" not in option:
        yield f"{where}: {key} has the default {value!r} in defaults/main.yml and none in argument_specs"
    elif option["default"] != value or type(option["default"]) is not type(value):
        other = option["default"]
        yield f"{where}: {key} defaults to {value!r} in defaults/main.yml and to {other!r} in argument_specs"
    wanted = option.get("type", "str")
    if not _has_type(value, wanted):
        yield f"{where}: {key} is of type {wanted} and defaults to {value!r}"
    elements = option.get("elements")
    if wanted == "list" and not elements:
        yield f"{where}: {key} is a list without elements"
    if isinstance(value, list) and elements and not all(_has_type(v, elements) for v in value):
        yield f"{where}: {key} has elements of type {elements} and defaults to {value!r}"
    chosen = value if isinstance(value, list) else [value]
    if "choices" in option and not all(one in option["choices"] for one in chosen):
        yield f"{where}: {key} defaults to {value!r}, which is no choice"


def argument_specs(root: Path) -> list[str]:
    """Defaults and argument_specs of every role agree in keys, types and values."""
    found: list[str] = []
    for role in _roles(root):
        where = f"roles/{role.name}"
        spec_file, default_file = role / "meta" / "argument_specs.yml", role / "defaults" / "main.yml"
        if not (spec_file.is_file() and default_file.is_file()):
            continue
        entries = (_yaml(spec_file) or {}).get("argument_specs") or {}
        defaults = _yaml(default_file) or {}
        if "main" not in entries:
            found.append(f"{where}: argument_specs has no entry point main")
        options: dict[str, t.Any] = {}
        for entry, content in entries.items():
            if not (role / "tasks" / f"{entry}.yml").is_file():
                found.append(f"{where}: entry point {entry} has no tasks/{entry}.yml")
            options.update(content.get("options") or {})
        found += [
            f"{where}: {key} is in defaults/main.yml and not in argument_specs"
            for key in sorted(set(defaults) - set(options))
        ]
        for key, option in options.items():
            found += _option(where, key, option or {}, defaults)
    return found


# -- tasks ---------------------------------------------------------------------------------------------------------

_LOOPS = ("loop", "with_items", "with_dict", "with_list", "with_together", "with_subelements", "until")
_FOREIGN_API = ("kubernetes.core.", "community.hashi_vault.", "community.proxmox.", "ansible.builtin.uri")


def _tasks(node: t.Any) -> t.Iterator[dict[str, t.Any]]:
    if isinstance(node, list):
        for one in node:
            yield from _tasks(one)
    elif isinstance(node, dict):
        yield node
        for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from _tasks(node.get(key))


def loops(root: Path) -> list[str]:
    """No loop round a module that talks to an API: it takes the whole list in one call."""
    own = {f"hackspace.infra.{name}" for name in _modules(root)}
    found = []
    for name in files(root):
        if not re.match(r"(roles/[^/]+/(tasks|handlers)|playbooks)/.*\.ya?ml$", name):
            continue
        for task in _tasks(_yaml(root / name)):
            looped = [key for key in task if key in _LOOPS[:-1] or key.startswith("with_")]
            calls = [key for key in task if key in own or key.startswith(_FOREIGN_API)]
            if looped and calls:
                found.append(f"{name}: {calls[0]} in a {looped[0]}: {task.get('name', 'a task')}")
    return found


def plays(root: Path) -> list[str]:
    """Playbooks say whether they gather facts, and name what they are for in their first lines."""
    found = []
    for name in files(root):
        if not re.match(r"playbooks/[^/]+\.ya?ml$", name):
            continue
        text = (root / name).read_text(encoding="utf-8")
        if "ansible-playbook" not in text.partition("\n---")[0]:
            found.append(f"{name}: its first lines do not show the command to type")
        for play in _yaml(root / name) or []:
            if "hosts" in play and "gather_facts" not in play:
                found.append(f"{name}: the play {play.get('name', '')!r} does not say gather_facts")
    return found


# -- modules and other plugins -------------------------------------------------------------------------------------


def _constants(path: Path) -> dict[str, t.Any]:
    """Return the documentation strings of a plugin, parsed."""
    found: dict[str, t.Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("DOCUMENTATION", "RETURN") and isinstance(node.value, ast.Constant):
                found[name] = yaml.safe_load(str(node.value.value))
    return found


def _fragments(path: Path) -> set[str]:
    listed = (_constants(path).get("DOCUMENTATION") or {}).get("extends_documentation_fragment") or []
    return {listed} if isinstance(listed, str) else set(listed)


def modules(root: Path) -> list[str]:
    """Modules go through ``run`` (check mode, one place for errors) and say what they support."""
    found = []
    for name in _modules(root):
        path = root / "plugins" / "modules" / f"{name}.py"
        text = path.read_text(encoding="utf-8")
        if "hackspace.infra._attributes" not in _fragments(path):
            found.append(f"plugins/modules/{name}.py: the fragment hackspace.infra._attributes is missing")
        if not re.search(r"^\s+run\(", text, re.MULTILINE):
            found.append(f"plugins/modules/{name}.py: does not start through _core.module.run")
        if "supports_check_mode=False" in text:
            found.append(f"plugins/modules/{name}.py: does not support check mode")
        if "AnsibleModule(" in text:
            found.append(f"plugins/modules/{name}.py: makes an AnsibleModule of its own")
    return found


#: Action group -> the fragment with the connection options at top level.
GROUPS = {
    "openbao": "hackspace.infra._openbao",
    "kube": "hackspace.infra._kube",
    "ceph": "hackspace.infra._ceph",
}


def action_groups(root: Path) -> list[str]:
    """A group holds exactly the modules that take its connection options, and each says so in its documentation."""
    groups = (_yaml(root / "meta" / "runtime.yml") or {}).get("action_groups") or {}
    found = [
        f"meta/runtime.yml: the group {name} has no connection fragment" for name in sorted(set(groups) - set(GROUPS))
    ]
    for group, fragment in GROUPS.items():
        wanted = set()
        for name in _modules(root):
            fragments = _fragments(root / "plugins" / "modules" / f"{name}.py")
            says = f"hackspace.infra._attributes.actiongroup_{group}" in fragments
            if fragment in fragments:
                wanted.add(f"hackspace.infra.{name}")
                if not says:
                    found.append(f"plugins/modules/{name}.py: the fragment _attributes.actiongroup_{group} is missing")
            elif says:
                found.append(f"plugins/modules/{name}.py: says it is in the group {group} and lacks {fragment}")
        listed = groups.get(group) or []
        found += [f"meta/runtime.yml: {name} is missing in the group {group}" for name in sorted(wanted - set(listed))]
        found += [
            f"meta/runtime.yml: {name} in the group {group} lacks its connection options"
            for name in sorted(set(listed) - wanted)
        ]
        if list(listed) != sorted(set(listed)):
            found.append(f"meta/runtime.yml: the group {group} is not sorted")
    return found


def tested(root: Path) -> list[str]:
    """Every module is run in an integration test or a scenario, every other plugin is named in a test."""
    names = files(root)

    def text(*tops: str) -> str:
        return "\n".join(
            (root / n).read_text(encoding="utf-8", errors="replace")
            for n in names
            if n.startswith(tops) and not n.startswith(_SELF) and Path(n).suffix in (".py", ".yml", ".yaml")
        )

    run = tuple(f"roles/{r.name}/tasks/" for r in _roles(root) if (root / "molecule" / f"{r.name}_default").is_dir())
    real = text("tests/integration/", "molecule/", *run)
    unit = real + text("tests/unit/")
    roles = text("roles/", "playbooks/")
    found = [
        f"plugins/modules/{name}.py: run by no integration test and no scenario"
        for name in _modules(root)
        if not re.search(rf"\b{name}\b", real)
    ]
    for kind in ("filter", "lookup", "test", "action", "inventory"):
        for path in sorted((root / "plugins" / kind).glob("*.py")):
            if path.stem != "__init__" and not re.search(rf"\b{path.stem}\b", unit):
                found.append(f"plugins/{kind}/{path.name}: named in no test")
    found += [
        f"plugins/filter/{path.name}: used by no role, playbook or test"
        for path in sorted((root / "plugins" / "filter").glob("*.py"))
        if path.stem != "__init__" and path.stem not in roles + unit
    ]
    return found


# -- words ---------------------------------------------------------------------------------------------------------

#: Joined, so that this file does not break its own rule.
FORBIDDEN = (
    "TO" + "DO",
    "FIX" + "ME",
    "NotImplemented" + "Error",
    "pytest." + "skip",
    "mark." + "skip",
    "skip" + "if",
    "import" + "orskip",
    "mark." + "xfail",
    "/wo" + "rk/",
    "/ro" + "ot/",
    "/fa" + "rm/",
    "shared/" + "facts",
    "design" + ".md",
    "fact " + "book",
)
#: Word -> what to say instead. Kept out of documentation, names and messages.
VOCABULARY = {
    "sla" + "ve": "downstream cluster",
    "mas" + "ter": "upstream cluster",
    "custo" + "mer": "tenant",
    "key" + "holder": "holder",
    "unseal " + "key": "unseal share",
    "unseal " + "keys": "unseal shares",
    "white" + "list": "allowed list",
    "black" + "list": "denied list",
}
#: Names that products gave their own things.
_PRODUCT_WORDS = re.compile(r"mas" + r"ter key|refs/heads/mas" + r"ter|unseal_" + r"key|--unseal-key")


def _meant(word: str, line: str) -> bool:
    """Say if a path of a machine is meant, and not the middle of another, such as OpenBao's sys/rotate/root/init."""
    return not word.startswith("/") or re.search(rf"(?<![\w+}}]){re.escape(word)}", line) is not None


def forbidden_words(root: Path) -> list[str]:
    """No leftovers, no skipped tests, no path that only one machine has."""
    found = []
    for name in files(root):
        if Path(name).suffix not in _TEXT or name.startswith((_SELF, "LICENSE", "lab/go/", "lab/files/kwok/")):
            continue
        for number, line in enumerate((root / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            found += [f"{name}:{number}: {word}" for word in FORBIDDEN if word in line and _meant(word, line)]
    return found


def vocabulary(root: Path) -> list[str]:
    """Things have one name, that of the glossary."""
    found = []
    tops = (
        "README.md",
        "docs/",
        "roles/",
        "playbooks/",
        "plugins/",
        "inventories/",
        "CONTRIBUTING.md",
        "lab/README.md",
    )
    for name in files(root):
        if not name.startswith(tops) or Path(name).suffix not in _TEXT or name == "docs/glossary.md":
            continue
        for number, line in enumerate((root / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            plain = _PRODUCT_WORDS.sub("", line)
            found += [
                f"{name}:{number}: {word!r}; say {instead!r}"
                for word, instead in VOCABULARY.items()
                if re.search(rf"\b{word}s?\b", plain, re.IGNORECASE)
            ]
    return found


def no_ignores(root: Path) -> list[str]:
    """Linters and sanity tests skip nothing."""
    found = [
        f"{name}: an ignore file"
        for name in files(root)
        if re.search(r"(^|/)\.?ansible-lint-ignore|sanity/ignore", name)
    ]
    lint = root / ".ansible-lint"
    config = (_yaml(lint) if lint.is_file() else None) or {}
    found += [
        f".ansible-lint: {key} is not empty" for key in ("skip_list", "warn_list", "mock_modules") if config.get(key)
    ]
    if config.get("profile") != "production":
        found.append(".ansible-lint: the profile is not production")
    for name in files(root):
        if name.endswith((".yml", ".yaml")) and name.startswith(("roles/", "playbooks/", "molecule/", "inventories/")):
            text = (root / name).read_text(encoding="utf-8")
            if re.search(r"#\s*noqa|yamllint disable", text):
                found.append(f"{name}: a rule is switched off by a comment")
    return found


RULES: dict[str, t.Callable[[Path], list[str]]] = {
    rule.__name__: rule
    for rule in (
        dependency_direction,
        lab_apart,
        role_files,
        role_scenarios,
        argument_specs,
        loops,
        plays,
        modules,
        action_groups,
        tested,
        forbidden_words,
        vocabulary,
        no_ignores,
    )
}
