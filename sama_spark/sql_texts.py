"""Texts from outside, written into SQL so that they mean the same in every session and are never run as SQL.

Before Spark parses SQL, it replaces `${...}` by settings and environment variables, and a setting decides what a
backslash means. So a text that is not plain is written as its bytes, or percent-encoded where SQL takes only a literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

from pyspark.sql import types as T

from sama_spark.names import quoted

_PLAIN = re.compile(r"[^'\\$\x00-\x1f\x7f]*")
_ENCODED = "percent-encoded:"


def sql_text(value: str) -> str:
    """Return the SQL expression of a text."""
    if _PLAIN.fullmatch(value):
        return f"'{value}'"
    return f"CAST(X'{value.encode(errors='surrogatepass').hex()}' AS STRING)"


def sql_in(column: str, values: Iterable[str] | Iterable[int]) -> str:
    """Return the condition that `column` is one of `values`. PySpark would pass `isin` values one by one."""
    written = (str(value) if isinstance(value, int) else sql_text(value) for value in values)
    return f"{column} IN ({', '.join(written) or 'NULL'})"


def ddl_comment(text: str) -> str:
    """Return a comment for DDL, which takes only a literal: `_` replaces what no literal holds in every session."""
    plain = text.replace("'", "\u2019")
    return "'" + re.sub(r"[\\$\x00-\x1f\x7f]", "_", plain) + "'"


def ddl_properties(properties: Mapping[str, str]) -> str:
    """Return table properties for DDL, which takes only literals; `property_value` reads them back."""
    return ", ".join(f"'{name}' = '{_encoded(value)}'" for name, value in properties.items())


def property_value(written: str) -> str:
    """Return the value that `ddl_properties` wrote."""
    if not written.startswith(_ENCODED):
        return written
    return unquote(written.removeprefix(_ENCODED), errors="surrogatepass")


def columns_ddl(schema: T.StructType) -> str:
    """Return the columns of a table as DDL, with their comments."""
    return ", ".join(map(_column_ddl, schema.fields))


def quoted_ddl(found: T.DataType) -> str:
    """Return a type as DDL, with the names of all fields in backticks."""
    if isinstance(found, T.ArrayType):
        return f"ARRAY<{quoted_ddl(found.elementType)}>"
    if isinstance(found, T.MapType):
        return f"MAP<{quoted_ddl(found.keyType)}, {quoted_ddl(found.valueType)}>"
    if isinstance(found, T.StructType):
        fields = (f"{quoted(f.name)}: {quoted_ddl(f.dataType)}" for f in found.fields)
        return f"STRUCT<{', '.join(fields)}>"
    # What plain TIMESTAMP means depends on a setting.
    return "TIMESTAMP_LTZ" if isinstance(found, T.TimestampType) else found.simpleString()


def _column_ddl(field: T.StructField) -> str:
    comment = field.metadata.get("comment")
    return f"{quoted(field.name)} {quoted_ddl(field.dataType)}" + (
        f" COMMENT {ddl_comment(comment)}" if comment else ""
    )


def _encoded(value: str) -> str:
    if _PLAIN.fullmatch(value) and not value.startswith(_ENCODED):
        return value
    return _ENCODED + quote(value, safe=' !"#&()*+,-./:;<=>?@[]^_`{|}~', errors="surrogatepass")
