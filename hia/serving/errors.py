"""What a client is told when there is no video."""


class RequestError(ValueError):
    """A request that cannot be answered; the message is for the client. status: of HTTP."""

    status = 400


class TooLarge(RequestError):
    """More bytes than are taken."""

    status = 413


class WrongType(RequestError):
    """The body is of another content type than JSON."""

    status = 415


class SlowUpload(RequestError):
    """The body did not arrive in time."""

    status = 408


class Busy(RequestError):
    """One request is being computed and the queue is full."""

    status = 429


class OutOfTime(RequestError):
    """The answer was not ready in the time that it may take."""

    status = 504
