"""What can go wrong."""

from __future__ import annotations


class DiarizedError(Exception):
    """The server cannot be reached, or refuses; the base of all errors of this package."""


class ApiError(DiarizedError):
    """A failed HTTP request. `status` is None if there was no answer."""

    def __init__(self, reason: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.code = code


class Closed(DiarizedError):
    """The server closed a WebSocket for good, or it could not be opened; `close` is the close code, if any."""

    def __init__(self, reason: str, *, close: int | None = None, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.close = close
        self.code = code


class OutOfStep(DiarizedError):
    """An event does not fit what is held: one was lost. A new snapshot helps, which `Follow` takes by itself."""
