// SPDX-FileCopyrightText: 2026 hackspace.infra contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package register replaces the one that registers every generator: the lab needs none.
package register
