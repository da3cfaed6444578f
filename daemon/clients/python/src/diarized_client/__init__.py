"""Client of diarized: who is speaking now, live, from a server of your own."""

from .aio import AsyncClient
from .errors import ApiError, Closed, DiarizedError, OutOfStep
from .follow import Follow
from .model import Change, Gap, Message, Segment, SessionModel, Speaker, Word, join
from .plain import Client, PlainFollow, PlainPublisher
from .publish import Publisher

__all__ = [
    "ApiError",
    "AsyncClient",
    "Change",
    "Client",
    "Closed",
    "DiarizedError",
    "Follow",
    "Gap",
    "Message",
    "OutOfStep",
    "PlainFollow",
    "PlainPublisher",
    "Publisher",
    "Segment",
    "SessionModel",
    "Speaker",
    "Word",
    "join",
]
