"""Every way the keeper can fail to bring a version, or its routes, into the local copy.

EvergreenError              (configs.errors)
└── RoutesError
    ├── RoutesUnreadable    somebody else wrote the file
    ├── NotRecorded         a version nobody recorded the digest of
    └── OutOfContract       it needs what the contract does not promise
"""

from collections.abc import Sequence
from pathlib import Path

from configs.errors import EvergreenError


class RoutesError(EvergreenError):
    """The local copy cannot be what the registry says."""


class RoutesUnreadable(RoutesError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path.parent.name}/{path.name} of the local copy cannot be read: {why}. Whoever answers goes on; remove "
            "the file, and the keeper writes it anew from the registry."
        )


class NotRecorded(RoutesError):
    def __init__(self, case: str, version: str) -> None:
        super().__init__(
            f"Version {version} of `{case}` carries no digest of its model (tag `model_sha256`): nobody knows whether "
            "its file is the one that was judged. It is not served; register versions with `evergreen train`."
        )


class OutOfContract(RoutesError):
    def __init__(self, case: str, version: str, contract: int, problems: Sequence[str]) -> None:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        super().__init__(
            f"Version {version} of `{case}` does not fit contract {contract}: {'; '.join(problems[:5])}{more}. It is "
            "not served. Put the contract back, or train a version that fits it."
        )
