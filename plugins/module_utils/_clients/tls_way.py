# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The way to an https server, hop by hop: its name, TCP, TLS under one CA alone, one request. Decides nothing.

On the standard library, because only there each hop can be timed and failed by itself. Nothing is taken from the
environment, and no certificate of the system's store counts.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import http.client
import json
import socket
import ssl
import threading
import time
import typing as t
import urllib.parse

from .._core.redact import Secret

#: X509_V_ERR_* of OpenSSL.
_MISMATCH: t.Final = frozenset({62, 63, 64})
_DATES: t.Final = frozenset({9, 10})
#: Largest answer that is read, in bytes.
_LARGEST: t.Final = 1_000_000


class Stopped(Exception):
    """The way ends here.

    :ivar hop: ``name``, ``tcp``, ``tls`` or ``http``.
    :ivar rule: dns, refused, unreachable, timeout, tls, tls-ca, tls-name, tls-expired, cut.
    """

    def __init__(self, hop: str, rule: str, message: str) -> None:
        super().__init__(message)
        self.hop, self.rule, self.message = hop, rule, message


def address(url: str) -> tuple[str, int]:
    """Return host and port of ``https://host:port``; an IPv6 address without its brackets."""
    parts = urllib.parse.urlsplit(url)
    return parts.hostname or "", parts.port or 443


def fingerprints(pem: str) -> tuple[str, ...]:
    """Return first 12 hex digits of the sha256 of *pem* and of each certificate in it (DER); ``()`` for no text."""
    text = pem.strip()
    if not text:
        return ()
    found = [hashlib.sha256(text.encode()).hexdigest()[:12]]
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    for part in text.split(begin)[1:]:
        with contextlib.suppress(ValueError):
            der = ssl.PEM_cert_to_DER_cert(f"{begin}{part.split(end)[0]}{end}")
            found.append(hashlib.sha256(der).hexdigest()[:12])
    return tuple(found)


def _context(ca_pem: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_pem is None:  # to look at a certificate that does not verify; nothing is sent over it
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_verify_locations(cadata=ca_pem)
    # as OpenBao does: an intermediate CA is trusted without its root
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def resolve(host: str, port: int, *, timeout: float) -> list[str]:
    """Return the addresses of *host*.

    The system's resolver knows no timeout, so it runs in a thread of its own that nobody waits for any longer.

    :raises Stopped: at hop ``name``.
    """
    found: list[str] = []
    problem: list[OSError] = []

    def ask() -> None:
        try:
            for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                name = str(entry[4][0])
                if name not in found:
                    found.append(name)
        except OSError as error:
            problem.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise Stopped("name", "timeout", f"no answer from DNS within {timeout:g} s")
    if problem or not found:
        raise Stopped("name", "dns", "the name does not resolve")
    return found


def connect(addresses: t.Sequence[str], port: int, *, timeout: float) -> socket.socket:
    """Return a connection to the first of *addresses* that takes one; they share *timeout*.

    :raises Stopped: at hop ``tcp``, with what the first one said.
    """
    first: Stopped | None = None
    share = timeout / max(1, min(len(addresses), 3))
    for one in addresses[:3]:
        try:
            plain = socket.create_connection((one, port), share)
        except TimeoutError:
            first = first or Stopped("tcp", "timeout", f"no answer within {share:g} s")
        except ConnectionRefusedError:
            first = first or Stopped("tcp", "refused", "the connection was refused")
        except OSError as error:
            first = first or Stopped("tcp", "unreachable", str(error.strerror or type(error).__name__))
        else:
            plain.settimeout(timeout)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return plain
    raise first or Stopped("tcp", "unreachable", "there is no address")


def secure(plain: socket.socket, host: str, ca_pem: str) -> ssl.SSLSocket:
    """Return *plain* with TLS, verified for *host* under *ca_pem* alone.

    :raises Stopped: at hop ``tls``; the connection is closed then.
    """
    try:
        context = _context(ca_pem)
    except (ssl.SSLError, ValueError):
        plain.close()
        raise Stopped("tls", "tls-ca", "the CA is no certificate") from None
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException as error:
        plain.close()
        raise _tls_problem(error) from None


def _tls_problem(error: BaseException) -> BaseException:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _MISMATCH:
            return Stopped("tls", "tls-name", error.verify_message)
        if error.verify_code in _DATES:
            return Stopped("tls", "tls-expired", error.verify_message)
        return Stopped("tls", "tls-ca", error.verify_message)
    if isinstance(error, TimeoutError):
        return Stopped("tls", "timeout", "no answer to the TLS handshake")
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return Stopped("tls", "cut", "the connection was cut")
    if isinstance(error, ssl.SSLError):
        return Stopped("tls", "tls", str(error.reason or "handshake").replace("_", " ").lower())
    if isinstance(error, OSError):
        return Stopped("tls", "cut", type(error).__name__)
    return error


def _described(der: bytes) -> dict[str, t.Any] | None:
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError:
        return None
    names: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound, ValueError):
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += [str(n) for n in alternative.get_values_for_type(x509.DNSName)]
        names += [str(n) for n in alternative.get_values_for_type(x509.IPAddress)]
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "names": names,
        "ends": certificate.not_valid_after_utc.timestamp(),
    }


class Way:
    """An https server under one CA.

    :param timeout: seconds for each hop and each answer.
    """

    def __init__(self, url: str, ca_pem: str, *, timeout: float) -> None:
        self._ca, self._timeout = ca_pem, timeout
        self._host, self._port = address(url)
        self._addresses: list[str] = []
        self.requests = 0

    def walk(self, *, other_ca: str = "", ms: dict[str, int] | None = None) -> dict[str, t.Any]:
        """Go as far as possible.

        :param other_ca: tried when the CA of this server does not verify it.
        :param ms: gets the milliseconds of ``name``, ``tcp`` and ``tls``.
        :returns: ``host``, ``port``, ``addresses``, ``hop`` (``""`` or where it ended), ``rule``, ``message``,
            ``presented``, ``other_ca_fits``, ``ahead`` (seconds of the server's clock before ours).
        """
        times = {} if ms is None else ms
        result: dict[str, t.Any] = {
            "host": self._host,
            "port": self._port,
            "addresses": [],
            "hop": "",
            "rule": "",
            "message": "",
            "presented": None,
            "other_ca_fits": None,
            "ahead": None,
        }
        try:
            with _timed(times, "name"):
                self._addresses = resolve(self._host, self._port, timeout=self._timeout)
            result["addresses"] = list(self._addresses)
            with _timed(times, "tcp"):
                plain = self._open()
            with _timed(times, "tls"):
                tls = secure(plain, self._host, self._ca)
        except Stopped as stop:
            result |= {"hop": stop.hop, "rule": stop.rule, "message": stop.message}
            if stop.rule in ("tls-ca", "tls-name", "tls-expired"):
                result["presented"] = self.presented()
            if stop.rule == "tls-ca" and other_ca.strip() and other_ca.strip() != self._ca.strip():
                result["other_ca_fits"] = self.verifies(other_ca)
            return result
        with contextlib.closing(tls):
            der = tls.getpeercert(binary_form=True)
            result["presented"] = _described(der) if der else None
            with contextlib.suppress(Stopped):  # a server that says nothing more is noticed by the next hop
                result["ahead"] = self._exchange(tls, "GET", "/version", {}, None)[2]
        return result

    def _open(self) -> socket.socket:
        if not self._addresses:
            self._addresses = resolve(self._host, self._port, timeout=self._timeout)
        return connect(self._addresses, self._port, timeout=self._timeout)

    def verifies(self, ca_pem: str) -> bool | None:
        """Say if the server's certificate is valid under *ca_pem*; ``None`` when it could not be seen."""
        try:
            secure(self._open(), self._host, ca_pem).close()
        except Stopped as stop:
            return False if stop.rule == "tls-ca" else None
        return True

    def presented(self) -> dict[str, t.Any] | None:
        """Return ``subject``, ``issuer``, ``names``, ``ends`` of the certificate that is shown, unverified."""
        try:
            with self._open() as plain, _context(None).wrap_socket(plain, server_hostname=self._host) as tls:
                der = tls.getpeercert(binary_form=True)
        except (Stopped, OSError):
            return None
        return _described(der) if der else None

    def post(self, path: str, body: t.Mapping[str, t.Any], bearer: Secret) -> tuple[int, dict[str, t.Any]]:
        """Send one request with a bearer token and return status and decoded body.

        :raises Stopped: without an answer.
        """
        with contextlib.closing(secure(self._open(), self._host, self._ca)) as tls:
            headers = {"Authorization": f"Bearer {bearer.reveal()}", "Content-Type": "application/json"}
            status, content, _ahead = self._exchange(tls, "POST", path, headers, json.dumps(dict(body)).encode())
        try:
            data = json.loads(content)
        except ValueError:
            data = None
        return status, data if isinstance(data, dict) else {}

    def _exchange(
        self, tls: ssl.SSLSocket, method: str, path: str, headers: t.Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes, float | None]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        connection.sock = tls
        self.requests += 1
        try:
            connection.request(method, path, body, {"Accept": "application/json", "Connection": "close", **headers})
            answer = connection.getresponse()
            content = answer.read(_LARGEST)
        except TimeoutError:
            raise Stopped("http", "timeout", f"no answer within {self._timeout:g} s") from None
        except (OSError, http.client.HTTPException):
            raise Stopped("http", "cut", "the connection was cut") from None
        date = email.utils.parsedate_tz(answer.getheader("Date") or "")
        # the header has whole seconds: on average the server is half a second further
        ahead = None if date is None else email.utils.mktime_tz(date) + 0.5 - time.time()
        return answer.status, content, ahead


@contextlib.contextmanager
def _timed(ms: dict[str, int], hop: str) -> t.Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        ms[hop] = int((time.monotonic() - started) * 1000)
