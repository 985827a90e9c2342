// SPDX-FileCopyrightText: 2026 hackspace.infra contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package register replaces the one that registers every provider: the lab has OpenBao only, and the other 35
// providers are two thirds of the build.
package register

import (
	_ "github.com/external-secrets/external-secrets/pkg/provider/vault"
)
