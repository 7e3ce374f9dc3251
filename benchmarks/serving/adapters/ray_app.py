"""Ray Serve with its batching: requests that come within 5 ms, or 64 of them, are one predict."""

# mypy: disable-error-code="attr-defined,import-not-found,misc,no-any-return,untyped-decorator"

import signal
import sys
from itertools import chain, islice
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.adapters.model import Model

Rows = list[dict[str, Any]]


@serve.deployment(num_replicas=1, max_ongoing_requests=256)
class Flights:
    def __init__(self) -> None:
        self.model = Model()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.005)
    async def predict(self, inputs: list[Rows]) -> list[list[float]]:
        answers = iter(self.model.probabilities(list(chain.from_iterable(inputs))))
        return [list(islice(answers, len(rows))) for rows in inputs]

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        asked = await request.json()
        return {"probabilities": await self.predict(asked if isinstance(asked, list) else [asked])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[2])
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Flights.bind(), route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()
