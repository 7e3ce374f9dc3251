"""KServe's own client asks a gateway, in each form that it can send; runs in an environment of its own.

    python -m benchmarks.serving.adapters.kserve_asks URL CASE < tensors.json > answers.json

`tensors.json`: a list of requests, each a list of tensors {name, datatype, data}. The answers: by form, for each
request the outputs by name.
"""

# mypy: disable-error-code="misc,import-not-found,unused-ignore"

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

DTYPES = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


def request(case: str, tensors: list[dict[str, Any]], *, binary: bool) -> InferRequest:
    """The tensors as the client wants them: plain lists go as JSON, arrays as bytes."""
    inputs = []
    for tensor in tensors:
        values = tensor["data"]
        one = InferInput(tensor["name"], [len(values)], tensor["datatype"], None if binary else values)
        if binary:
            missing: Any = "" if tensor["datatype"] == "BYTES" else np.nan
            array = np.array([missing if value is None else value for value in values], DTYPES[tensor["datatype"]])
            one.set_data_from_numpy(array, binary_data=True)
        inputs.append(one)
    return InferRequest(model_name=case, infer_inputs=inputs)


async def main(url: str, case: str, asked: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """What was answered, by form."""
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, case)
    told: dict[str, Any] = {}
    for form in ("lists", "arrays"):
        answers = [
            await client.infer(url, request(case, tensors, binary=form == "arrays"), model_name=case)
            for tensors in asked
        ]
        told[form] = [{output.name: output.as_numpy().tolist() for output in answer.outputs} for answer in answers]
    await client.close()
    return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:], json.load(sys.stdin)))))
