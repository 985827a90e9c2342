# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Manifests from files and from the web: read whole into memory, never larger than a cap, pinned by sha256."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import typing as t
import urllib.parse

from .._core.errors import HackspaceError, InvalidInput, Refused, check
from .._kube import manifests
from .._kube.model import MANAGER, Source
from .openbao import Connection, _unreachable

#: Larger than any release's manifest: Kyverno's has 4.5 MB.
MAX_BYTES: t.Final = 32 * 1024 * 1024
_CHUNK: t.Final = 64 * 1024
_REDIRECTS: t.Final = 5
_SHA256: t.Final = re.compile(r"[0-9a-f]{64}")
_LOCAL_NAME: t.Final = "localhost"

#: Suboptions of an option ``manifests``, and the rules between them.
MANIFEST_OPTIONS: t.Final[dict[str, dict[str, t.Any]]] = {
    "path": {"type": "path"},
    "url": {"type": "str"},
    "ca_file": {"type": "path"},
    "sha256": {"type": "str"},
}
MANIFEST_RULES: t.Final[dict[str, t.Any]] = {
    "mutually_exclusive": [("path", "url")],
    "required_one_of": [("path", "url")],
    "required_by": {"url": ("sha256",)},
}


def check_sha256(value: str, *, item: str) -> str:
    """Return a checksum in lower case.

    :raises InvalidInput: when it is not a sha256.
    """
    found = str(value).strip().lower()
    check(
        _SHA256.fullmatch(found),
        "this is no sha256 (64 hexadecimal digits).",
        item=item,
        rule="sha256-format",
        fix="read the file, then pin it: sha256sum FILE.",
    )
    return found


def check_url(url: str, *, item: str) -> str:
    """Return an address that may be fetched: https, or http on loopback, without a login in it.

    :raises InvalidInput: for any other.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urllib.parse.urlsplit(""), ""
    check(
        parts.scheme in ("http", "https") and host,
        "this is no address of a file on the web.",
        item=item,
        rule="source-url",
        fix="give https://HOST/PATH, or a path.",
    )
    check(
        parts.scheme == "https" or _loopback(host),
        f"{host} is asked without TLS.",
        item=item,
        rule="source-plain-http",
        fix="use https; plain http works on loopback only.",
    )
    check(
        parts.username is None and parts.password is None,
        "the address has a login in it.",
        item=item,
        rule="source-login",
        fix="download the file, and give its path.",
    )
    return url


def _loopback(host: str) -> bool:
    if host == _LOCAL_NAME:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_path(path: str, *, item: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file.

    :raises InvalidInput: when it cannot be read or is larger than *max_bytes*.
    """
    try:
        with open(path, "rb") as handle:
            content = handle.read(max_bytes + 1)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}).",
            item=item,
            rule="manifest-file",
            fix="give an existing file on the controller.",
        ) from None
    if len(content) > max_bytes:
        raise _too_large(path, max_bytes, item)
    return content


def _too_large(where: str, max_bytes: int, item: str) -> InvalidInput:
    return InvalidInput(
        f"{where} is larger than {max_bytes} bytes.",
        item=item,
        rule="source-size",
        fix="check that this is the manifest.",
    )


def read_url(
    url: str,
    *,
    sha256: str,
    item: str,
    ca_cert: str | None = None,
    timeout: float = 30.0,
    max_bytes: int = MAX_BYTES,
) -> bytes:
    """Return the content of an address, if it has this checksum.

    Redirects are followed where they lead to addresses that may be fetched themselves. No proxy and no login is taken
    from the environment.

    :raises InvalidInput: for addresses that must not be fetched, and for another content than the one pinned.
    :raises Unreachable: when there is no answer.
    """
    import urllib3

    at = check_url(url, item=item)
    pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=ca_cert)
    try:
        for _number in range(_REDIRECTS + 1):
            answer = _open(pool, at, timeout)
            try:
                target = answer.get_redirect_location()
                if not target:
                    return _checked(_body(answer, at, item, max_bytes, timeout), sha256, at, item)
                at = check_url(urllib.parse.urljoin(at, str(target)), item=f"{item} (redirected)")
            finally:
                answer.release_conn()
                answer.close()
    finally:
        pool.clear()
    raise Refused(
        f"{url} redirects more than {_REDIRECTS} times.",
        item=item,
        rule="source-redirects",
        fix="give the last address, or download the file and give its path.",
    )


def _gone(error: Exception, at: str, timeout: float) -> HackspaceError:
    parts = urllib.parse.urlsplit(at)
    return _unreachable(error, Connection(url=f"{parts.scheme}://{parts.netloc}", timeout=timeout))


def _open(pool: t.Any, at: str, timeout: float) -> t.Any:
    import urllib3.exceptions

    try:
        return pool.request(
            "GET",
            at,
            headers={"User-Agent": MANAGER},
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            redirect=False,
            retries=False,
            preload_content=False,
        )
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _gone(error, at, timeout) from None


def _body(answer: t.Any, at: str, item: str, max_bytes: int, timeout: float) -> bytes:
    import urllib3.exceptions

    if answer.status != 200:
        raise HackspaceError(
            f"{at} answers with HTTP {answer.status}.",
            item=item,
            rule="source-status",
            fix="check the address and the version in it.",
            status=int(answer.status),
        )
    content = bytearray()
    try:
        for chunk in answer.stream(_CHUNK, decode_content=True):
            content += chunk
            if len(content) > max_bytes:
                raise _too_large(at, max_bytes, item)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _gone(error, at, timeout) from None
    return bytes(content)


def _checked(content: bytes, sha256: str, at: str, item: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    check(
        found == sha256,
        f"{at} has the sha256 {found}, pinned is {sha256}.",
        item=item,
        rule="manifest-sha256",
        fix="get the file that was pinned, or read what changed and pin the new one.",
    )
    return content


def read_manifests(
    entries: t.Sequence[t.Mapping[str, t.Any]], *, timeout: float, item: str = "manifests"
) -> list[Source]:
    """Return the objects in the manifests that the option *item* names.

    :raises InvalidInput: for the first that cannot be had, has another checksum or is not a manifest.
    """
    found: list[Source] = []
    for index, entry in enumerate(entries):
        place = f"{item}[{index}]"
        pinned = check_sha256(entry["sha256"], item=f"{place}.sha256") if entry.get("sha256") else None
        if entry.get("url"):
            content = read_url(
                entry["url"],
                sha256=pinned or "",
                item=f"{place}.url",
                ca_cert=entry.get("ca_file"),
                timeout=timeout,
            )
            found += manifests.load(content, entry["url"])
        else:
            content = read_path(entry["path"], item=f"{place}.path")
            found += manifests.load(content, entry["path"], pinned)
    return found
