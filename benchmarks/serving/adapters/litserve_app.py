"""LitServe with its batching: requests that come within 5 ms, or 64 of them, are one predict."""

# mypy: disable-error-code="import-not-found,misc,no-any-return"

import sys
from itertools import chain, islice
from typing import Any

import litserve
from fastapi import Request

from benchmarks.serving.adapters.model import Model

Rows = list[dict[str, Any]]


class Flights(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        self.model = Model()

    def decode_request(self, request: Request) -> Rows:
        # The annotation is how LitServe is told to read JSON; what comes is the JSON.
        asked: Any = request
        return asked if isinstance(asked, list) else [asked]

    def batch(self, inputs: list[Rows]) -> list[Rows]:
        return inputs

    def predict(self, inputs: list[Rows]) -> list[list[float]]:
        answers = iter(self.model.probabilities(list(chain.from_iterable(inputs))))
        return [list(islice(answers, len(rows))) for rows in inputs]

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        return output

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        return {"probabilities": output}


if __name__ == "__main__":
    api = Flights(max_batch_size=64, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(sys.argv[2]), timeout=120)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
