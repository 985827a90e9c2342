# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which public keys OpenBao trusts while signing keys rotate."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import pubkeys
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.jwks import PublicKey
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

DOMAIN = "infra.example.org"
NOW = 1795248000


def _pem(public: t.Any) -> str:
    raw = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return t.cast("bytes", raw).decode()


KEYS = [
    PublicKey("a", "RS256", _pem(rsa.generate_private_key(65537, 2048).public_key())),
    PublicKey("b", "ES256", _pem(ec.generate_private_key(ec.SECP256R1()).public_key())),
    PublicKey("c", "ES384", _pem(ec.generate_private_key(ec.SECP384R1()).public_key())),
    PublicKey("d", "ES512", _pem(ec.generate_private_key(ec.SECP521R1()).public_key())),
    PublicKey("e", "EdDSA", _pem(ed25519.Ed25519PrivateKey.generate().public_key())),
]
OLD, NEW = KEYS[0], KEYS[1]


def test_the_first_run_trusts_what_is_published() -> None:
    found = pubkeys.choose([OLD, NEW], [], pubkeys.Evidence(), now=NOW, overlap=600)
    assert found.pems == (OLD.pem, NEW.pem)
    assert found.algorithms == ("ES256", "RS256")
    assert found.evidence == pubkeys.Evidence(frozenset({OLD.fingerprint, NEW.fingerprint}), {})
    assert (found.kept, found.dropped) == ({}, {})


def test_a_vanished_key_stays_until_its_tokens_have_expired() -> None:
    first = pubkeys.choose([OLD], [], pubkeys.Evidence(), now=NOW, overlap=600)
    second = pubkeys.choose([NEW], first.pems, first.evidence, now=NOW + 100, overlap=600)
    assert second.pems == (NEW.pem, OLD.pem)
    assert second.algorithms == ("ES256", "RS256")
    assert second.kept == {OLD.fingerprint: NOW + 700}
    assert second.evidence.vanished == {OLD.fingerprint: NOW + 100}
    third = pubkeys.choose([NEW], second.pems, second.evidence, now=NOW + 699, overlap=600)
    assert third == second
    fourth = pubkeys.choose([NEW], third.pems, third.evidence, now=NOW + 700, overlap=600)
    assert fourth.pems == (NEW.pem,)
    assert fourth.algorithms == ("ES256",)
    assert fourth.dropped == {OLD.fingerprint: "tokens signed with it have expired"}
    assert fourth.evidence.vanished == {}


def test_a_stolen_key_goes_at_once() -> None:
    seen = pubkeys.Evidence(frozenset({OLD.fingerprint}))
    found = pubkeys.choose([NEW], [OLD.pem], seen, now=NOW, overlap=0)
    assert found.pems == (NEW.pem,)


def test_a_key_that_the_cluster_never_published_goes_at_once() -> None:
    found = pubkeys.choose(
        [NEW], [NEW.pem, OLD.pem], pubkeys.Evidence(frozenset({NEW.fingerprint})), now=NOW, overlap=600
    )
    assert found.pems == (NEW.pem,)
    assert found.dropped == {OLD.fingerprint: "the cluster is not known to have published it"}


def test_evidence_alone_brings_no_key_back() -> None:
    seen = pubkeys.Evidence(frozenset({OLD.fingerprint}), {KEYS[2].fingerprint: NOW})
    assert pubkeys.choose([NEW], [], seen, now=NOW, overlap=600).pems == (NEW.pem,)


def test_a_time_in_the_future_does_not_keep_a_key_for_ever() -> None:
    seen = pubkeys.Evidence(frozenset(), {OLD.fingerprint: NOW + 10**9})
    found = pubkeys.choose([NEW], [OLD.pem], seen, now=NOW, overlap=600)
    assert found.kept == {OLD.fingerprint: NOW + 600}
    assert found.evidence.vanished == {OLD.fingerprint: NOW}


def test_a_key_that_comes_back_is_published_again() -> None:
    seen = pubkeys.Evidence(frozenset({NEW.fingerprint}), {OLD.fingerprint: NOW - 10})
    found = pubkeys.choose([OLD], [OLD.pem, NEW.pem], seen, now=NOW, overlap=600)
    assert found.evidence == pubkeys.Evidence(frozenset({OLD.fingerprint}), {NEW.fingerprint: NOW})


@pytest.mark.parametrize("key", KEYS, ids=[k.algorithm for k in KEYS])
def test_the_algorithm_of_a_vanished_key_stays_allowed(key: PublicKey) -> None:
    other = KEYS[(KEYS.index(key) + 1) % len(KEYS)]
    seen = pubkeys.Evidence(frozenset({key.fingerprint}))
    found = pubkeys.choose([other], [key.pem], seen, now=NOW, overlap=600)
    assert found.algorithms == tuple(sorted({key.algorithm, other.algorithm}))


_SETS = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True)


@given(st.lists(st.tuples(_SETS, st.integers(min_value=0, max_value=500)), min_size=1, max_size=8))
def test_whatever_rotates_a_key_is_trusted_exactly_as_long_as_told(history: list[tuple[list[PublicKey], int]]) -> None:
    now, seen = NOW, pubkeys.Evidence()
    configured: tuple[str, ...] = ()
    missed: dict[str, int] = {}
    last: set[str] = set()
    for published, passed in history:
        now += passed
        present = {key.fingerprint for key in published}
        missed = {name: missed.get(name, now) for name in (set(missed) | last) - present}
        missed = {name: since for name, since in missed.items() if since + 600 > now}
        found = pubkeys.choose(published, configured, seen, now=now, overlap=600)
        trusted = {key.fingerprint for key in KEYS if key.pem in found.pems}
        assert trusted == present | set(missed)
        again = pubkeys.choose(published, found.pems, found.evidence, now=now, overlap=600)
        assert again == dataclasses.replace(found, dropped={})
        written = pubkeys.as_annotations(found.evidence, DOMAIN)
        seen = pubkeys.read_evidence(written, DOMAIN)
        assert seen == found.evidence
        configured, last = found.pems, present


@given(st.dictionaries(st.sampled_from([f"{DOMAIN}/published-keys", f"{DOMAIN}/vanished-keys"]), st.text()))
def test_any_annotations_are_read(annotations: dict[str, str]) -> None:
    seen = pubkeys.read_evidence(annotations, DOMAIN)
    assert pubkeys.choose([NEW], [NEW.pem], seen, now=NOW, overlap=600).pems == (NEW.pem,)
