"""Textbook FastAPI: a pydantic row, a frame, a predict; a `def` endpoint, so that it runs in the thread pool."""

# mypy: disable-error-code="misc,unused-ignore"

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving.adapters.model import Model


class Row(BaseModel):
    """The features of a flight."""

    scheduled_departure: str
    scheduled_arrival_minute: int
    carrier: str
    origin: str
    destination: str
    distance: int
    plane_year: float | None
    plane_manufacturer: str | None
    plane_seats: float | None
    plane_engine: str | None
    temperature: float | None
    dew_point: float | None
    humidity: float | None
    wind_direction: float | None
    wind_speed: float | None
    wind_gust: float | None
    precipitation: float | None
    pressure: float | None
    visibility: float | None


app = FastAPI()
model = Model()


@app.post("/predict")
def predict(rows: Row | list[Row]) -> dict[str, list[float]]:
    many = rows if isinstance(rows, list) else [rows]
    return {"probabilities": model.probabilities([row.model_dump() for row in many])}
