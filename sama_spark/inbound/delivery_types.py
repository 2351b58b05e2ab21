"""The types of `data` and `answers`, from a project's delivery schema (JSON Schema, draft 7).

The types depend on the project alone, never on the tasks of the day:

| the schema says | Spark type |
| --- | --- |
| string; with format date | STRING; DATE |
| integer; within 32 bits; number; boolean | BIGINT; INT; DOUBLE; BOOLEAN |
| object with properties | STRUCT |
| object of any keys, of hundreds, or of keys that differ only in case | MAP<STRING, STRING>, nested values as JSON |
| object with a name that Delta refuses (space, `,;{}()=`) | that MAP if all values are scalar, else STRUCT with `_` |
| array with items | ARRAY |
| only `examples` | the same of the merged examples, numbers as DOUBLE |
| several types, or nothing | STRING, JSON text of what is not text |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pyspark.sql import types as T

from sama_spark.exact import rebuilt

_SAMA_NAME = "sama_name"
_MOST_FIELDS, _MOST_LEVELS = 200, 12
_TEXT_MAP = T.MapType(T.StringType(), T.StringType())

# Spark's text for the schema of VARIANT values has names of fields, in backticks where needed, and parts of types.
_VARIANT_PART = re.compile(r"(`(?:[^`]|``)*`|\w+):|(OBJECT|ARRAY)<|(\w+)(?:\(\d+,\s*\d+\))?|(>)")
_VARIANT_WORDS = {
    "BIGINT": T.LongType(),
    "DOUBLE": T.DoubleType(),
    "DECIMAL": T.DoubleType(),
    "BOOLEAN": T.BooleanType(),
}
_MOST_OBSERVED_LEVELS = 30  # Spark Connect makes no plans of deeper columns


def delivery_types(schema: Mapping[str, Any]) -> tuple[T.DataType, T.DataType]:
    """Return the types of `data` and `answers`; STRING (JSON text) where the schema declares no fields."""
    properties = _resolve(schema, schema).get("properties")
    declared = properties if isinstance(properties, Mapping) else {}
    return _fields_or_text(declared.get("data"), schema), _fields_or_text(declared.get("answers"), schema)


def observed_type(variant_schema: str) -> T.DataType:
    """Return the type for a schema that Spark observed in JSON values (`schema_of_variant_agg`).

    Fractions are DOUBLE, since the next delivery may have more digits. Values that were only null or that conflict are
    STRING.
    """
    return _variant_type(variant_schema, empty=_TEXT_MAP, void=T.StringType())


def learnt_type(variant_schema: str) -> T.DataType:
    """Return the type for a table, which must never change it.

    As `observed_type`, but all numbers are DOUBLE, which never has to become wider. Values that were only null or empty
    are VOID, since nothing is known of them yet.
    """
    return rebuilt(_variant_type(variant_schema, empty=T.NullType(), void=T.NullType()), _settled)


def _variant_type(variant_schema: str, empty: T.DataType, void: T.DataType) -> T.DataType:
    """Return the type that Spark's text describes, with `empty` for an object without fields, STRING for a conflict.

    This function reads the text itself: Spark would read it as SQL and replace `${...}` in a name by a variable.
    """
    opened: list[tuple[str, str, dict[str, T.DataType]]] = [("", "", {})]
    name = ""
    for field, container, word, _ in _VARIANT_PART.findall(variant_schema):
        if field:
            name = field[1:-1].replace("``", "`") if field.startswith("`") else field
        elif container:
            opened.append((name, container, {}))
            name = ""
        elif word:
            opened[-1][2][name] = void if word == "VOID" else _VARIANT_WORDS.get(word, T.StringType())
        else:
            name, kind, parts = opened.pop()
            found = T.ArrayType(parts[""]) if kind == "ARRAY" else _struct(parts) if parts else empty
            opened[-1][2][name] = found if len(opened) <= _MOST_OBSERVED_LEVELS else T.StringType()
    return opened[0][2][""]


def _settled(found: T.DataType) -> T.DataType:
    if isinstance(found, T.ArrayType) and isinstance(found.elementType, T.NullType):
        return found.elementType
    if isinstance(found, T.StructType):
        fields = [field for field in found.fields if not isinstance(field.dataType, T.NullType)]
        return T.StructType(fields) if fields else T.NullType()
    return T.DoubleType() if isinstance(found, T.LongType) else found


def _fields_or_text(node: Any, root: Mapping[str, Any]) -> T.DataType:
    found = _type(node, root, _MOST_LEVELS)
    return found if isinstance(found, T.StructType) or found == _TEXT_MAP else T.StringType()


def _type(node: Any, root: Mapping[str, Any], levels: int) -> T.DataType:
    node = _resolve(node, root)
    declared = node.get("type")
    kinds = [k for k in (declared if isinstance(declared, list) else [declared]) if k not in (None, "null")]
    examples = node.get("examples")
    properties, items, others = node.get("properties"), node.get("items"), node.get("additionalProperties")
    if levels == 0 or len(kinds) > 1 or node.get("anyOf") or node.get("oneOf"):
        return T.StringType()
    kind = kinds[0] if kinds else None
    if kind in (None, "object") and isinstance(properties, Mapping) and properties:
        return _struct({str(n): _type(child, root, levels - 1) for n, child in properties.items()})
    if kind in (None, "array") and isinstance(items, Mapping):
        return T.ArrayType(_type(items, root, levels - 1))
    if kind == "object" and isinstance(others, Mapping) and others:
        return T.MapType(T.StringType(), _type(others, root, levels - 1))
    if kind in (None, "object", "array") and isinstance(examples, list) and examples:
        return _merged([_example_type(example, levels) for example in examples])
    if kind == "object":
        return _TEXT_MAP
    if kind == "integer":
        bounds = node.get("minimum"), node.get("maximum")
        return T.IntegerType() if all(map(_is_int32, bounds)) else T.LongType()
    if kind == "string" and node.get("format") == "date":
        return T.DateType()
    return {"number": T.DoubleType(), "boolean": T.BooleanType()}.get(str(kind), T.StringType())


def _resolve(node: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(_MOST_LEVELS):
        if not isinstance(node, Mapping):
            return {}
        reference = node.get("$ref")
        if not isinstance(reference, str):
            return node
        node = root
        for key in reference.removeprefix("#").strip("/").split("/"):
            node = node.get(key) if isinstance(node, Mapping) else None
    return {}


def saveable(found: T.DataType) -> T.DataType:
    """Return the same type with field names that a Delta table takes: `Original url` becomes `Original_url`."""
    return rebuilt(found, _with_saveable_names)


def _with_saveable_names(found: T.DataType) -> T.DataType:
    if not isinstance(found, T.StructType):
        return found
    return T.StructType([_saveable_field(field) for field in found.fields])


def _saveable_field(field: T.StructField) -> T.StructField:
    name = saveable_name(field.name)
    metadata = {} if name == field.name else {_SAMA_NAME: field.name}
    return T.StructField(name, field.dataType, metadata=metadata)


def sama_name(field: T.StructField) -> str:
    """Return Sama's own name of a field of `saveable`, which tables keep in the field's metadata."""
    return str(field.metadata.get(_SAMA_NAME, field.name))


def saveable_name(name: str) -> str:
    """Return the name with `_` for each character that a Delta table refuses."""
    return re.sub(r"[ ,;{}()\n\t=]", "_", name)


def _as_compared(name: str) -> str:
    """Return one text for all names that Spark takes for the same.

    Java compares letters in upper case and then in lower case, where a dotted capital I loses its dot.
    """
    return saveable_name(name).upper().lower().replace("\u0307", "")


def _is_int32(bound: Any) -> bool:
    return isinstance(bound, (int, float)) and -(2**31) <= bound < 2**31


def _is_nested(found: T.DataType) -> bool:
    return isinstance(found, (T.StructType, T.ArrayType, T.MapType))


def _struct(fields: Mapping[str, T.DataType]) -> T.DataType:
    # By default Spark ignores the case of names. Hundreds of fields make every plan slow.
    if len(fields) > _MOST_FIELDS or len(set(map(_as_compared, fields))) < len(fields):
        return _TEXT_MAP
    # A map keeps names as they are, but nested values would lose their types: then a struct with other names is better.
    if any(saveable_name(name) != name for name in fields) and not any(map(_is_nested, fields.values())):
        return _TEXT_MAP
    return T.StructType([T.StructField(name, kind) for name, kind in fields.items()])


def _example_type(value: Any, levels: int) -> T.DataType:
    if levels == 0:
        return T.StringType()
    if isinstance(value, bool):
        return T.BooleanType()
    if isinstance(value, (int, float)):
        return T.DoubleType()
    if isinstance(value, list):
        return T.ArrayType(_merged([_example_type(item, levels - 1) for item in value]))
    if isinstance(value, Mapping):
        return _struct(
            # Tags differ from shape to shape, and an example shows only some.
            {n: _TEXT_MAP if n == "tags" else _example_type(v, levels - 1) for n, v in value.items()}
        )
    return T.NullType() if value is None else T.StringType()


def _merged(types: list[T.DataType]) -> T.DataType:
    """Return one type for all of `types`: fields add up, conflicts are text."""
    known = [t for t in types if not isinstance(t, T.NullType)]
    if not known:
        return T.StringType()
    if all(isinstance(t, T.StructType) for t in known):
        fields: dict[str, list[T.DataType]] = {}
        for struct in known:
            for field in struct.fields:  # type: ignore[attr-defined]  # all are structs
                fields.setdefault(field.name, []).append(field.dataType)
        return _struct({name: _merged(found) for name, found in fields.items()})
    if all(isinstance(t, T.ArrayType) for t in known):
        return T.ArrayType(_merged([t.elementType for t in known]))  # type: ignore[attr-defined]
    return known[0] if all(t == known[0] for t in known) else T.StringType()


def grown(old: T.DataType, new: T.DataType, path: str, gained: list[str]) -> T.DataType:
    """Return `old` with the fields that only `new` has; where both conflict, `old` stays.

    Args:
        old: the type as it is.
        new: the type as it was seen.
        path: where both are, for the names of new fields.
        gained: the list to which the paths of new fields are appended.
    """
    if isinstance(old, T.StructType) and isinstance(new, T.StructType):
        found = {field.name: field.dataType for field in new.fields}
        known = {_as_compared(field.name) for field in old.fields}
        fields = [
            T.StructField(f.name, grown(f.dataType, found[f.name], f"{path}.{f.name}", gained))
            if f.name in found
            else f
            for f in old.fields
        ]
        added = [field for field in new.fields if _as_compared(field.name) not in known]
        added = added[: max(_MOST_FIELDS - len(fields), 0)]  # where ids are used as keys, there would be no end
        gained.extend(f"{path}.{field.name}" for field in added)
        return T.StructType([*fields, *added])
    if isinstance(old, T.ArrayType) and isinstance(new, T.ArrayType):
        return T.ArrayType(grown(old.elementType, new.elementType, f"{path}[]", gained))
    if isinstance(old, T.MapType) and isinstance(new, T.MapType):
        return T.MapType(old.keyType, grown(old.valueType, new.valueType, f"{path}{{}}", gained))
    return old
