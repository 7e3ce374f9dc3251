"""BentoML with its adaptive batching."""

# mypy: disable-error-code="import-not-found,misc,untyped-decorator"

from typing import Any

import bentoml

from benchmarks.serving.adapters.model import Model


@bentoml.service(workers=1, traffic={"timeout": 120, "max_concurrency": 1024})
class Flights:
    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=2000, max_latency_ms=60_000, route="/predict")
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        return self.model.probabilities(rows)
