# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    # The login to OpenBao of modules that join it and consumers' clusters.
    DOCUMENTATION = r"""
options:
  openbao:
    description: OpenBao, and the login of this run. Needed by consumers with C(delivery=openbao).
    type: dict
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
"""
