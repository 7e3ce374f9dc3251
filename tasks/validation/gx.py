"""The door to Great Expectations: imported here alone, because it takes seconds and warns on the way."""

import logging
import warnings
from functools import cache
from typing import Any

import pandas as pd

with warnings.catch_warnings():
    # It imports `sre_constants`, which Python 3.11 announces the end of.
    warnings.filterwarnings("ignore", "module 'sre_", DeprecationWarning)
    import great_expectations as gx
    import great_expectations.expectations as gxe

# It tells of temporary folders it makes and takes away; what a person should know is in the findings.
for _chatty in ("great_expectations", "great_expectations.data_context.types.base"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)

__all__ = ["gxe", "results"]


def results(frame: pd.DataFrame, expectations: list[Any]) -> list[Any]:
    """What Great Expectations says of each expectation, in their order."""
    # Results come back in an order of their own, and two checks may be equal but for their severity.
    numbered = [expectation.copy(update={"meta": {"number": i}}) for i, expectation in enumerate(expectations)]
    suite = gx.ExpectationSuite(name="contract", expectations=numbered)
    batch = _batches().get_batch(batch_parameters={"dataframe": frame})
    found = {
        result.expectation_config.meta["number"]: result
        for result in batch.validate(suite, result_format="BASIC").results
    }
    if not found or sorted(found) != list(range(len(expectations))):
        # An empty suite passes, and an expectation dropped on the way would never fail.
        raise RuntimeError(f"Great Expectations answered {len(found)} of {len(expectations)} expectations.")
    return [found[i] for i in range(len(expectations))]


@cache
def _batches() -> Any:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("deliveries").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")
