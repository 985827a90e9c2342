# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - requests
  - kubernetes
  - PyYAML
options:
  openbao:
    description: The server to which downstream clusters log in, and the login of this run.
    type: dict
    required: true
    suboptions:
      url:
        description:
          - Address of the server, C(https://host:port) without a path. Use an IP address and O(openbao.tls_server_name) where DNS may be down.
          - Plain C(http) is accepted on loopback only.
        type: str
        required: true
      tls_server_name:
        description: Name to expect in the server's certificate (and to send as SNI), if it is not the host of O(openbao.url).
        type: str
      ca_cert:
        description: PEM file on the controller with the CA that signed the server's certificate. The system's store by default.
        type: path
      validate_certs:
        description: Verify the server's certificate. Turning it off makes the login readable to anyone on the path.
        type: bool
        default: true
      namespace:
        description: OpenBao namespace, OpenBao 2.3 or newer.
        type: str
      timeout:
        description: Seconds to wait for a connection and for each answer.
        type: float
        default: 10.0
      retries:
        description: How often a read is repeated after a cut connection or a 502, 503 or 504. Writes are never repeated.
        type: int
        default: 2
      auth_method:
        description: How to log in. V(none) sends no token.
        type: str
        choices: [token, userpass, cert, approle, none]
        default: token
      mount_point:
        description: Path of the auth mount used for the login, the method's name by default.
        type: str
      token:
        description: The token, for O(openbao.auth_method=token). Never taken from the environment or a home folder.
        type: str
      token_path:
        description: File with the token, mode 0600; may be encrypted by ansible-vault or sops. Alternative to O(openbao.token).
        type: path
      username:
        description: For O(openbao.auth_method=userpass).
        type: str
      password:
        description: For O(openbao.auth_method=userpass).
        type: str
      password_file:
        description: File with the password, mode 0600; may be encrypted by ansible-vault or sops. Alternative to O(openbao.password).
        type: path
      role_id:
        description: For O(openbao.auth_method=approle).
        type: str
      secret_id:
        description: For O(openbao.auth_method=approle).
        type: str
      cert_auth_public_key:
        description: PEM file with the client certificate, for O(openbao.auth_method=cert).
        type: path
      cert_auth_private_key:
        description: PEM file with the key of the client certificate, for O(openbao.auth_method=cert).
        type: path
      cert_auth_role:
        description: Certificate role to log in to, for O(openbao.auth_method=cert). The server picks one that matches by default.
        type: str
  clusters:
    description: The downstream clusters, all of them in one call.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the cluster; part of the names and paths below, where they are not given.
        type: str
        required: true
      kubeconfig:
        description: >-
          An administrator's kubeconfig on the controller; may be encrypted by ansible-vault or sops. One of this and
          O(clusters[].kubeconfig_content) is needed.
        type: path
      kubeconfig_content:
        description: The text of a kubeconfig, where there is no file.
        type: str
      context:
        description: Context of the kubeconfig, its current one by default.
        type: str
      tls_server_name:
        description: Name to expect in the API server's certificate, if it is not the host of the kubeconfig. For this run, not for OpenBao.
        type: str
      mode:
        description:
          - How OpenBao finds out whether a token is genuine.
          - V(token_request) asks the API server with a token of its own, which expires and is replaced in time.
          - V(jwt_pubkeys) checks the signature against the public keys of the API server, which are read with the kubeconfig. OpenBao then
            needs no way to the API server; a deleted ServiceAccount's token is good until it expires.
          - V(long_lived) asks with a token that never expires. V(client_jwt) asks with the token that is to be checked, which must then be one that the
            API server accepts too. Both are known so that what exists can be kept for a while; they are warned about.
        type: str
        choices: [token_request, jwt_pubkeys, long_lived, client_jwt]
        default: token_request
      mount:
        description: Path of the auth mount, without C(auth/). C(kubernetes-NAME) by default.
        type: str
      audience:
        description:
          - Audience that a token must have to log in. C(openbao-NAME) by default.
          - It must differ from cluster to cluster, and must not be one that the API server itself accepts.
        type: str
      api_server:
        description: Address of the API server as OpenBao reaches it. That of the kubeconfig by default.
        type: str
      ca_cert:
        description: PEM file on the controller with the CA of the API server; the only one that OpenBao will trust for it. That of the kubeconfig by default.
        type: path
      issuer:
        description: Issuer of the ServiceAccount tokens (C(--service-account-issuer)). Read from the API server by default.
        type: str
      namespace:
        description: Downstream namespace of the reviewer. Made if it does not exist.
        type: str
        default: 0-core-openbao-auth
      service_account:
        description: ServiceAccount whose token OpenBao holds. It may create TokenReviews and nothing else.
        type: str
        default: openbao-reviewer
      canary_service_account:
        description: ServiceAccount that logs in to prove that it works. It may do nothing downstream.
        type: str
        default: openbao-canary
      cluster_role:
        description: Name of the ClusterRole and of the ClusterRoleBinding.
        type: str
        default: openbao-reviewer
      token_lifetime:
        description: How long a new token of the reviewer lives, 10 minutes to 366 days. The API server may give less, and what it gives counts.
        type: str
        default: 30d
      key_overlap:
        description: >-
          For O(clusters[].mode=jwt_pubkeys), how long a public key is kept after the API server has stopped publishing it,
          so that tokens that it signed work until they expire.
        type: str
        default: 1h
      access:
        description: Who of this cluster may log in.
        type: dict
        suboptions:
          role:
            description: Name of the role of all tenants.
            type: str
            default: tenant
          service_accounts:
            description: ServiceAccounts that may log in, by name, whatever their namespace. V(default) is refused.
            type: list
            elements: str
            default: [eso]
          namespaces:
            description:
              - Namespaces from which to log in, names or patterns. All by default, unless there is a selector.
              - Each reads its own OpenBao secrets only, as the OpenBao policy has the namespace of the login in its path.
            type: list
            elements: str
          namespace_selector:
            description:
              - Labels of namespaces from which to log in, beside O(clusters[].access.namespaces). Values are texts.
              - The reviewer may then read namespaces.
            type: dict
          ttl:
            description: How long a token lives, 1 minute to 1 hour. It cannot be renewed.
            type: str
            default: 10m
          token_type:
            description: V(batch) tokens are not stored and cannot be revoked; V(service) tokens can.
            type: str
            choices: [batch, service]
            default: batch
          find:
            description: Also allow to list names and read metadata, as C(dataFrom.find) of the External Secrets Operator needs.
            type: bool
            default: false
          per_tenant:
            description:
              - Tenants with a role C(tenant-TENANT) and an OpenBao policy C(tenant-CLUSTER.TENANT) each, for their namespaces only.
              - The stricter choice, at the cost of requests for each tenant. The role of all tenants is not made then.
            type: list
            elements: dict
            suboptions:
              name:
                description: Name of the tenant.
                type: str
                required: true
              namespaces:
                description: Its namespaces, by their full names. The tenant's name by default.
                type: list
                elements: str
              service_accounts:
                description: ServiceAccounts that may log in. O(clusters[].access.service_accounts) by default.
                type: list
                elements: str
  kv_mount:
    description: Key/value engine (version 2) with the OpenBao secrets of tenants.
    type: str
    default: kv
  kv_prefix:
    description: Path below it. A namespace reads C(KV_PREFIX/CLUSTER/NAMESPACE/).
    type: str
    default: tenants
  policy_prefix:
    description: How the names of OpenBao policies begin, before the name of the cluster.
    type: str
    default: tenant-
  label_domain:
    description: Domain of the labels and annotations on Kubernetes objects.
    type: str
    default: infra.hackspace.org
  request_timeout:
    description: Seconds to wait for a connection to an API server and for each of its answers.
    type: float
    default: 30.0
"""
