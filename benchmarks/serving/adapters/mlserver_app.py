"""MLServer with its adaptive batching: a runtime that makes a frame of the tensors, one for each column."""

# mypy: disable-error-code="import-not-found,misc"

import pandas as pd
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.serving.adapters.model import Model
from tasks.features.artifact import score


class Flights(MLModel):
    async def load(self) -> bool:
        self.model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frame: pd.DataFrame = PandasCodec.decode_request(payload)
        answers = score(self.model.pipeline, frame, self.model.candidate)
        output = NumpyCodec.encode_output("probabilities", answers.reshape(-1, 1))
        return InferenceResponse(model_name=self.name, outputs=[output])
