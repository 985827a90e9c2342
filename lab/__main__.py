# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the lab's command line."""

from __future__ import annotations

import os
import sys
import threading

from lab.cli import main

if __name__ == "__main__":
    code = main()
    if any(thread.daemon for thread in threading.enumerate()):
        # An interrupted step still waits for a server. The interpreter would abort if it printed during the shutdown.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
