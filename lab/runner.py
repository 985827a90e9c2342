# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs steps together, each as soon as what it needs is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.errors import Cancelled, LabError

# How long the main thread looks away from interrupts.
GLANCE = 0.2


@dataclass(frozen=True)
class Step:
    """Something to be done once after others. Its action returns what it did, or an empty string."""

    name: str
    action: Callable[[Callable[[], bool]], str]
    needs: tuple[str, ...] = ()


def run(steps: Sequence[Step], say: Callable[[str], None], *, stop: threading.Event | None = None) -> None:
    """Run all steps; the first error stops what has not started and is raised with the name of its step."""
    stop = stop or threading.Event()
    known = {step.name for step in steps}
    for step in steps:
        missing = [need for need in step.needs if need not in known]
        if missing:
            raise LabError(f"{step.name} needs {missing}, which nobody provides")
    done = {step.name: threading.Event() for step in steps}
    errors: list[tuple[str, Exception]] = []

    def work(step: Step) -> None:
        for need in step.needs:
            while not done[need].wait(0.2):
                if stop.is_set():
                    return
        if stop.is_set():
            return
        begin = time.monotonic()
        try:
            text = step.action(stop.is_set)
        except Exception as error:
            if not stop.is_set() or not isinstance(error, LabError):
                errors.append((step.name, error))
            stop.set()
            return
        if text:
            say(f"{step.name}: {text} ({time.monotonic() - begin:.1f} s)")
        done[step.name].set()

    threads = [threading.Thread(target=work, args=(step,), name=step.name, daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(GLANCE)
    except KeyboardInterrupt:
        stop.set()
        for thread in threads:
            thread.join(5)
        raise Cancelled("interrupted; 'lab up' continues, 'lab down' stops what has started") from None
    if errors:
        name, error = errors[0]
        if isinstance(error, LabError):
            raise error
        raise LabError(f"{name}: {type(error).__name__}: {error}") from error
