"""Waits between attempts to connect."""

from __future__ import annotations

import random

FIRST_S = 0.25
LONGEST_S = 10.0


class Backoff:
    """Waits that grow while nothing works, with a share of chance so that many clients do not come at once."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._wait_s = first_s

    def next(self) -> float:
        wait_s = self._wait_s
        self._wait_s = min(2 * wait_s, self._longest_s)
        return wait_s * random.uniform(0.75, 1.0)

    def reset(self) -> None:
        self._wait_s = self._first_s
