"""What can go wrong with a flow as a whole.

EvergreenError                   (configs.errors)
└── MonitorsFailed               some steps failed; the others did their part
"""

from collections.abc import Mapping

from configs.errors import EvergreenError


class MonitorsFailed(EvergreenError):
    def __init__(self, case: str, failures: Mapping[str, str]) -> None:
        self.steps = tuple(failures)
        what = "; ".join(f"`{step}`: {why}" for step, why in failures.items())
        super().__init__(
            f"Of the monitors of `{case}`, {len(failures)} failed: {what}. The others were heard and acted on; "
            "what failed is `unknown` in `evergreen verdicts`, and an incident. Mend it and run the flow again."
        )
