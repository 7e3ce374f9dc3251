"""A Parquet file while it is written."""

import pyarrow as pa
import pyarrow.parquet as pq

_ROWS_IN_A_GROUP = 50_000


class ParquetFile:
    """Gathers tables and writes them in groups, in memory: the file is a tenth of what it is made from."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._buffer = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._buffer, schema, compression="zstd")

    def add(self, table: pa.Table) -> None:
        """Take a table of the file's columns."""
        self.rows += table.num_rows
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= _ROWS_IN_A_GROUP:
            self._write()

    def _write(self) -> None:
        tables = [table.replace_schema_metadata(self._schema.metadata) for table in self._waiting]
        self._writer.write_table(pa.concat_tables(tables), row_group_size=_ROWS_IN_A_GROUP)
        self._waiting, self._waiting_rows = [], 0

    def end(self) -> bytes:
        """The file, whole."""
        if self._waiting:
            self._write()
        self._writer.close()
        return bytes(self._buffer.getvalue())
