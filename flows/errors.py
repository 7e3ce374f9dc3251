"""What can go wrong with a flow as a whole.

EvergreenError                   (configs.errors)
├── MonitorsFailed               some steps failed; the others did their part
└── RefusedError                 (tasks.errors) what was asked for is against the rules
    └── AsOfAhead                a moment that has not come yet
"""

from collections.abc import Mapping
from datetime import datetime

from configs.errors import EvergreenError
from tasks.errors import RefusedError


class MonitorsFailed(EvergreenError):
    def __init__(self, case: str, failures: Mapping[str, str]) -> None:
        self.steps = tuple(failures)
        what = "; ".join(f"`{step}`: {why}" for step, why in failures.items())
        super().__init__(
            f"Of the monitors of `{case}`, {len(failures)} failed: {what}. The others were heard and acted on; "
            "what failed is `unknown` in `evergreen verdicts`, and an incident. Mend it and run the flow again."
        )


class AsOfAhead(RefusedError):
    def __init__(self, as_of: datetime, now: datetime) -> None:
        super().__init__(
            f"The as-of {as_of:%Y-%m-%d %H:%M}Z has not come yet: it is {now:%Y-%m-%d %H:%M}Z. A run for it would take "
            "a period that is not over for a whole one, and labels that are still to come for none. Nothing was "
            "changed; ask for a moment until now, in UTC."
        )
