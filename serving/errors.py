"""Every way the gateway can refuse, each with its HTTP status; nothing here names a path, a host or a trace.

Refused                       (status, code, message)
├── BadRequest            400 the body is not what the protocol promises
│   └── ContractBroken    422 a row breaks the contract; says which row and field
├── NotAllowed            401 no key, or an unknown one
├── OutOfScope            403 a key without the scope
├── NotFound              404 unknown path, case, model or version
├── WrongMethod           405
├── TooLarge              413 body or rows over the limit
├── WrongType             415 a content type the protocol does not take
├── TooMany               429 over the key's rate; Retry-After
└── Unavailable           503 nobody can answer now; Retry-After
"""

from collections.abc import Sequence
from typing import ClassVar

from configs.errors import EvergreenError
from serving.records import RowProblem

_SHOWN = 5


class Refused(EvergreenError):
    """A request that gets an error and no prediction; `code` is a stable word for programs."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    retry_after: float | None = None


class BadRequest(Refused):
    """The body is not what the protocol promises."""


class ContractBroken(BadRequest):
    """Rows break the contract."""

    status = 422
    code = "contract_broken"

    def __init__(self, problems: Sequence[RowProblem]) -> None:
        self.problems = list(problems)
        shown = [f"row {problem.row}: {problem.message}" for problem in self.problems[:_SHOWN]]
        more = len(self.problems) - len(shown)
        super().__init__("; ".join(shown) + (f"; and {more} more" if more > 0 else ""))


class NotAllowed(Refused):
    status = 401
    code = "not_allowed"

    def __init__(self) -> None:
        super().__init__("A key is needed: send `Authorization: Bearer KEY` or `X-API-Key: KEY`.")


class OutOfScope(Refused):
    status = 403
    code = "out_of_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This key does not have the scope `{scope}`.")


class NotFound(Refused):
    status = 404
    code = "not_found"


class WrongMethod(Refused):
    status = 405
    code = "wrong_method"

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(f"This path takes {allowed}.")


class TooLarge(Refused):
    status = 413
    code = "too_large"


class WrongType(Refused):
    status = 415
    code = "wrong_type"


class TooMany(Refused):
    status = 429
    code = "too_many"

    def __init__(self, per_second: float, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"This client may send {per_second:g} requests a second; try again a little later.")


class Unavailable(Refused):
    status = 503
    code = "unavailable"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)
