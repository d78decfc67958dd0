"""The errors that a client is answered with, and their HTTP status."""


class RequestError(ValueError):
    """A request that cannot be answered. The message is sent to the client; status: of HTTP."""

    status = 400


class TooLarge(RequestError):
    """More bytes than the limits allow."""

    status = 413


class WrongType(RequestError):
    """A body of another content type than JSON."""

    status = 415


class SlowUpload(RequestError):
    """A body that did not arrive in time."""

    status = 408


class Busy(RequestError):
    """A request is being computed and the queue is full."""

    status = 429


class OutOfTime(RequestError):
    """An answer that was not ready within the time limit, or that nobody waits for any more."""

    status = 504
