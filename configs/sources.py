"""Where rows come from: recorded history, files, or a query."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from configs.frozen import Frozen


class RecordedSource(Frozen):
    """Real history that ships as a package, delivered as a source system would have delivered it."""

    kind: Literal["recorded"]
    name: Literal["flights", "bikes"]
    as_of: AwareDatetime
    """The moment a run pretends it is when none is given: recorded history stands still."""


class FileSource(Frozen):
    """A CSV or Parquet file, or a folder of them, local or at any fsspec URL."""

    kind: Literal["file"]
    url: str
    format: Literal["parquet", "csv"]


class SqlSource(Frozen):
    """A query against the SQLAlchemy URL found in an environment variable.

    The query may use `:start` and `:end`, the bounds in UTC of the rows wanted.
    """

    kind: Literal["sql"]
    url_from: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
    query: str


Source = Annotated[RecordedSource | FileSource | SqlSource, Field(discriminator="kind")]
