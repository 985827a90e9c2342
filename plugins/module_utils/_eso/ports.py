# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What the flow of this package needs of a client, so that it knows neither HTTP nor Kubernetes' Python package."""

from __future__ import annotations

from .._kube.ports import Requests

Api = Requests
