# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server to configure: modules run in this process with real argument checking, or by Ansible."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import http.server
import importlib
import itertools
import json
import ssl
import threading
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import Connection, Login, OpenBao
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lab.api import Lab, Proxy

PLUGINS = "ansible_collections.hackspace.infra.plugins.modules."
_COUNTER = itertools.count(1)


class _Module:
    """What a module's main() uses of an AnsibleModule."""

    def __init__(self, params: dict[str, t.Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode
        self.no_log_values: set[str] = set()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@dataclasses.dataclass
class Server:
    """The active node of a lab, as modules address it, and what only a test may do with it."""

    lab: Lab
    root: str
    login: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def active(self) -> str:
        name = self.lab.openbao_active()
        assert name, "no active node"
        return name

    def connection(self, url: str | None = None) -> dict[str, t.Any]:
        node = next(n for n in self.lab.openbao_nodes if n.name == self.active)
        return {
            "url": url or node.address,
            "tls_server_name": node.tls_server_name,
            "ca_cert": str(self.lab.openbao_ca),
            **(self.login or {"auth_method": "token", "token": self.root}),
        }

    def client(self) -> OpenBao:
        args = self.connection()
        return OpenBao(
            Connection(args["url"], args["tls_server_name"], args["ca_cert"]),
            Login(method="token", token=Secret(self.root)),
        )

    def write(self, path: str, body: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
        with self.client() as client:
            return client.write(path, body)

    def data(self, path: str) -> dict[str, t.Any] | None:
        with self.client() as client:
            return client.data(path)

    def keys(self, path: str) -> list[str]:
        with self.client() as client:
            return client.keys(path)

    def delete(self, path: str) -> None:
        with self.client() as client:
            client.delete(path)

    def run(self, name: str, *, check: bool = False, url: str | None = None, **args: t.Any) -> dict[str, t.Any]:
        """Run the module *name* in this process and return its result; errors are raised."""
        module = importlib.import_module(PLUGINS + name)
        spec = module.SPEC
        validator = ArgumentSpecValidator(
            spec.options,
            mutually_exclusive=[list(x) for x in spec.mutually_exclusive],
            required_if=[list(x) for x in spec.required_if],
        )
        checked = validator.validate(json.loads(json.dumps({**self.connection(url), **args})))  # as Ansible passes them
        assert not checked.error_messages, checked.error_messages
        fake = _Module(checked.validated_parameters, check)
        result = dict(module.main(fake))
        result["warnings"] = fake.warnings
        return result

    def fails(self, name: str, rule: str, **args: t.Any) -> HackspaceError:
        """Run a module that must fail by *rule*."""
        with pytest.raises(HackspaceError) as caught:
            self.run(name, **args)
        assert caught.value.rule == rule, str(caught.value)
        return caught.value

    @contextlib.contextmanager
    def proxy(self) -> t.Iterator[Proxy]:
        with self.lab.proxy(self.active) as proxy:
            yield proxy


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """One lab for all tests of this folder; each test uses names of its own."""
    lab = Lab("config", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao"])
        yield Server(lab, lab.init_openbao().root_token)
    finally:
        lab.down(wipe=True)


@pytest.fixture
def tag() -> str:
    """A word that no other test uses in its names."""
    return f"t{next(_COUNTER)}"


# -- an identity provider ------------------------------------------------------------------------------------------


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Provider:
    """An OIDC provider as far as OpenBao asks one: discovery and keys over TLS, and tokens signed by its key."""

    def __init__(self, folder: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ca_pem = self._certificate(folder)
        self.asked: list[str] = []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                body = provider.answer(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body or {}).encode())

            def log_message(self, format: str, *args: t.Any) -> None:
                del format, args

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "idp.pem", folder / "idp.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.issuer = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _certificate(self, folder: Path) -> str:
        import ipaddress

        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "identity provider")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (folder / "idp.pem").write_bytes(pem)
        (folder / "idp.key").touch(mode=0o600)
        (folder / "idp.key").write_bytes(
            self._key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pem.decode()

    @property
    def public_key(self) -> str:
        return (
            self._key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def answer(self, path: str) -> dict[str, t.Any] | None:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        if path == "/keys":
            numbers = self._key.public_key().public_numbers()
            return {
                "keys": [
                    {
                        "kty": "RSA",
                        "use": "sig",
                        "alg": "RS256",
                        "kid": "one",
                        "n": _b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
                        "e": _b64(numbers.e.to_bytes(3, "big")),
                    }
                ]
            }
        return None

    def token(self, **claims: t.Any) -> str:
        """Return a token signed by the provider's key, valid for five minutes."""
        now = int(datetime.datetime.now(datetime.UTC).timestamp())
        payload = {"iss": self.issuer, "iat": now, "nbf": now - 5, "exp": now + 300, **claims}
        head = _b64(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "one"}).encode())
        text = f"{head}.{_b64(json.dumps(payload).encode())}"
        return f"{text}.{_b64(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="package")
def provider(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Provider]:
    one = Provider(tmp_path_factory.mktemp("idp"))
    yield one
    one.close()
