"""A place: where Evergreen runs, and where its stores are (`configs/places/<place>.yaml`)."""

from typing import Literal

from pydantic import Field

from configs.alerts import AlertParams, MonitoringPlace
from configs.frozen import Frozen
from configs.serving import GatewayParams


class Stores(Frozen):
    """Where what must survive is kept. A value `env:NAME` is read from the environment variable NAME."""

    mlflow: str
    """MLflow's tracking URI: a database URL or a server."""
    artifacts: str | None = None
    """Where model artifacts go when MLflow is used without a server."""
    history: str
    """SQLAlchemy URL of the append-only history of who served."""
    predictions: str = "data/predictions"
    """Where the prediction log lands as Parquet: a folder of the project, or any fsspec URL."""
    prefect_home: str
    dvc_remote: str = "local"
    """Name of the DVC remote that every delivery is pushed to."""


class PrefectPlace(Frozen):
    """How flows are orchestrated here."""

    api_url: str | None = None
    """A Prefect server; without one, flows run embedded in the calling process."""
    work_pool: str = "local"


class Ports(Frozen):
    """Loopback ports of what `evergreen up` starts."""

    prefect: int = Field(4200, ge=1024, le=65535)
    mlflow: int = Field(5000, ge=1024, le=65535)


class Place(Frozen):
    """One overlay."""

    name: Literal["local", "ci", "github", "prod"]
    stores: Stores
    prefect: PrefectPlace = PrefectPlace()
    ports: Ports = Ports()
    gateway: GatewayParams = GatewayParams()
    when_busy: Literal["wait", "refuse"] = "wait"
    """What a second training run of one case does while the first is on its way."""
    rollout: Literal["staged", "direct"] = "staged"
    """`direct`: an approved challenger serves at once, whatever its case's strategy: nobody asks it anything here."""
    approvers: tuple[str, ...] = ()
    """Who may approve here; empty means anyone who can reach the form."""
    alerts: AlertParams = AlertParams()
    monitoring: MonitoringPlace = MonitoringPlace()
