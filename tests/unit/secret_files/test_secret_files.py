# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading of secrets on the controller: files, programs; errors never carry content."""

from __future__ import annotations

import builtins
import functools
import json
import os
import sys
import threading
import typing as t
from pathlib import Path

import pyrage
import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.plugin_utils._secret_files import SecretReader

VALUE = "5ec2e7" * 11


@pytest.fixture
def reader() -> SecretReader:
    return SecretReader(DataLoader())


def private(path: Path, text: str | bytes, mode: int = 0o600) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


def refused(call: t.Callable[[], object]) -> InvalidInput:
    with pytest.raises(InvalidInput) as error:
        call()
    assert VALUE not in str(error.value)
    assert VALUE not in repr(error.value.as_fail())
    assert error.value.item == "the share"
    assert error.value.fix
    return error.value


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in for a program that is not installed here in front of the PATH."""
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")


def test_plain_file_must_be_private(reader: SecretReader, tmp_path: Path) -> None:
    path = private(tmp_path / "f", VALUE + "\n")
    assert reader.file(path, item="the share") == VALUE + "\n"
    for mode in (0o640, 0o604, 0o660):
        Path(path).chmod(mode)
        assert refused(lambda: reader.file(path, item="the share")).rule == "secret-file-mode"


def test_missing_folder_large_and_binary(reader: SecretReader, tmp_path: Path) -> None:
    for path in (str(tmp_path / "no"), str(tmp_path)):
        assert refused(functools.partial(reader.file, path, item="the share")).rule == "secret-file"
    large = private(tmp_path / "l", VALUE * 20000)
    assert refused(lambda: reader.file(large, item="the share")).rule == "secret-file"
    binary = private(tmp_path / "b", b"\xff\xfe" + VALUE.encode())
    assert refused(lambda: reader.file(binary, item="the share")).rule == "secret-text"


def test_relative_paths_are_the_playbooks(tmp_path: Path) -> None:
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))
    private(tmp_path / "f", VALUE)
    assert SecretReader(loader).file("f", item="the share") == VALUE


def test_named_pipe(reader: SecretReader, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    writer = threading.Thread(target=lambda: path.write_text(VALUE))
    writer.start()
    assert reader.file(str(path), item="the share") == VALUE
    writer.join()


def test_ansible_vault(tmp_path: Path) -> None:
    secret = VaultSecret(b"password")
    path = private(tmp_path / "v", VaultLib([("default", secret)]).encrypt(VALUE, secret), mode=0o644)
    loader = DataLoader()
    loader.set_vault_secrets([("default", secret)])
    assert SecretReader(loader).file(path, item="the share") == VALUE
    assert refused(lambda: SecretReader(DataLoader()).file(path, item="the share")).rule == "vault"
    loader.set_vault_secrets([("default", VaultSecret(b"wrong"))])
    assert refused(lambda: SecretReader(loader).file(path, item="the share")).rule == "vault"
    assert [p.name for p in tmp_path.iterdir()] == ["v"]


def identity(folder: Path) -> tuple[str, pyrage.x25519.Identity]:
    key = pyrage.x25519.Identity.generate()
    return private(folder / "identity.txt", f"# created\n{key}\n"), key


def test_age(reader: SecretReader, tmp_path: Path) -> None:
    path, key = identity(tmp_path)
    for armored in (False, True):
        file = private(
            tmp_path / f"s{armored}.age", pyrage.encrypt(VALUE.encode(), [key.to_public()], armored=armored), 0o644
        )
        assert reader.age(file, path, item="the share") == VALUE
        assert refused(functools.partial(reader.file, file, item="the share")).rule == "secret-encrypted"
    (tmp_path / "other").mkdir()
    other, _other = identity(tmp_path / "other")
    assert refused(lambda: reader.age(file, other, item="the share")).rule == "age"
    broken = private(tmp_path / "broken.age", Path(file).read_bytes()[:-40])
    assert refused(lambda: reader.age(broken, path, item="the share")).rule == "age"
    nothing = private(tmp_path / "nothing", "# no key\n")
    assert refused(lambda: reader.age(file, nothing, item="the share")).rule == "age-identity"


def test_age_by_the_program_when_pyrage_is_missing(
    reader: SecretReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, key = identity(tmp_path)
    file = private(tmp_path / "s.age", pyrage.encrypt(VALUE.encode(), [key.to_public()]))
    real = builtins.__import__

    def without(name: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if name == "pyrage":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = refused(lambda: reader.age(file, path, item="the share"))
    assert missing.rule == "age-missing"
    assert "pyrage" in str(missing)
    assert "age" in str(missing)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    script = f'test "$1 $2 $3 $4" = "--decrypt -i - {file}" && grep -q AGE-SECRET-KEY && printf %s {VALUE}'
    program(tmp_path, "age", script, monkeypatch)
    assert reader.age(file, path, item="the share") == VALUE


@pytest.mark.parametrize(
    "text",
    [json.dumps({"data": "ENC[x]", "sops": {"version": "3"}}), "share: ENC[x]\nsops:\n  version: 3\n"],
)
def test_sops(reader: SecretReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = private(tmp_path / "s.json", text, 0o644)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert refused(lambda: reader.file(file, item="the share")).rule == "sops-missing"
    program(tmp_path, "sops", f'test "$1" = --decrypt && test -r "$2" && printf %s {VALUE}', monkeypatch)
    assert reader.file(file, item="the share") == VALUE


def test_pgp_reads_the_message_from_a_pipe(
    reader: SecretReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(
        tmp_path,
        "gpg",
        f'case "$*" in *--decrypt) grep -q message && printf %s {VALUE};; *) exit 3;; esac',
        monkeypatch,
    )
    file = private(tmp_path / "m.asc", "a message")
    assert reader.pgp(file, item="the share") == VALUE


def test_command(reader: SecretReader, tmp_path: Path) -> None:
    source = private(tmp_path / "f", VALUE)
    assert reader.command(["cat", source], item="the share") == VALUE
    assert refused(lambda: reader.command([], item="the share")).rule == "command"
    assert refused(lambda: reader.command(["no-such-program"], item="the share")).rule == "command-missing"
    assert refused(lambda: reader.command([str(tmp_path)], item="the share")).rule == "command"
    failing = [sys.executable, "-c", f"import sys; print(open({source!r}).read()); sys.exit(open({source!r}).read())"]
    assert refused(lambda: reader.command(failing, item="the share")).rule == "command"


def test_prompt_without_a_terminal(reader: SecretReader, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert refused(lambda: reader.prompt("?", item="the share")).rule == "no-terminal"
