"""References to the account's key, which are resolved late, and on the driver alone."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from sama_spark.errors import InvalidInput
from sama_spark.sessions import find_dbutils

KEY_ENV = "SAMA_API_KEY"
_OPTIONS = '; with format("sama") in the option `api_key_env` or `api_key_file`'


# A part of a name, perhaps numbered: "SAMA", "key", "apiKey", "prod2". Keys have digits among their letters.
_WORD = re.compile(r"(?:[A-Z]+|[A-Z]?[a-z]+(?:[A-Z][a-z]+){0,3})?[0-9]{0,4}")


def _is_name(text: str) -> bool:
    words = re.split("[-_. @]+", text)
    return all(len(word) <= 24 and _WORD.fullmatch(word) for word in words)


class KeyReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The place of a key: one of these, by default the environment variable SAMA_API_KEY.

    Attributes:
        env: an environment variable of the driver.
        file: a text file that the driver can read, such as "/Volumes/catalog/schema/volume/key".
        scope: a Databricks secret scope.
        key: the key's name in `scope`.
        secret: a Unity Catalog secret, "catalog.schema.name"; needs Databricks Runtime 17.3 or environment 4.
    """

    env: str | None = None
    file: str | None = None
    scope: str | None = None
    key: str | None = None
    secret: str | None = None

    def __post_init__(self) -> None:
        named = [name for name in ("env", "file", "scope", "secret") if getattr(self, name)]
        if len(named) > 1 or (self.scope is None) != (self.key is None):
            raise ValueError("name one place: env, file, scope with key, or secret")
        if self.secret is not None and len(self._secret_parts()) != 3:
            raise ValueError("`secret` has three parts: catalog.schema.name")

    def resolve(self) -> str:
        """Return the key.

        Raises:
            InvalidInput: the place holds no key. The error leaves out a name that may be the key itself.
        """
        reason = ""
        try:
            text = self._read()
        except Exception as error:  # the file system's, dbutils' or Databricks' own
            text, reason = "", f" ({type(error).__name__})"
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"{self.described()} does not give a key{reason}", remedy=self._remedy())
        return text.strip()

    def __repr__(self) -> str:
        if self.env == KEY_ENV or self._is_default():
            return f"the environment variable {KEY_ENV}"
        if self.env is not None:
            return "the environment variable that is named for the key"
        if self.file is not None:
            return "the file that is named for the key"
        return "the secret scope and key" if self.scope is not None else "the Unity Catalog secret"

    __str__ = __repr__

    def described(self) -> str:
        """Return this place in words, with its name unless the name may be the key itself in a wrong place."""
        parts = self._secret_parts() if self.secret else [self.env, self.scope, self.key]
        if self.file is not None:
            folder, _, last = self.file.rpartition("/")
            return f"the file {self.file}" if _is_name(last) and (folder or "." in last) else str(self)
        is_named = all(_is_name(part) for part in parts if part) and (self.env is None or self.env.isidentifier())
        if not is_named:
            return str(self)
        if self.scope is not None:
            return f"the secret {self.key} in the scope {self.scope}"
        return f"the environment variable {self.env or KEY_ENV}" if not self.secret else f"{self} {self.secret}"

    def _is_default(self) -> bool:
        return not any((self.env, self.file, self.scope, self.secret))

    def _secret_parts(self) -> list[str]:
        return [part for part in (self.secret or "").split(".") if part]

    def _read(self) -> Any:
        if self.file is not None:
            return Path(self.file).read_text()
        if self.env is not None or self._is_default():
            return os.environ.get(self.env or KEY_ENV, "")
        dbutils = find_dbutils()
        if dbutils is None:
            return None
        secrets = dbutils.secrets
        if self.scope is not None:
            return secrets.get(scope=self.scope, key=self.key)
        catalog, schema, key = self._secret_parts()
        return secrets.get(catalog=catalog, schema=schema, key=key)

    def _remedy(self) -> str:
        if self.file is not None:
            return f"see that the driver can read the file, and that it holds the key alone{_OPTIONS}"
        if self.env is not None or self._is_default():
            return f"set the variable for the driver, before the session starts, or name another place{_OPTIONS}"
        if self.scope is not None:
            return "see that both exist, that this user may READ the scope, and that this is Databricks"
        return (
            "see that it exists, that this user has READ SECRET, USE SCHEMA and USE CATALOG, and that this is "
            "Databricks Runtime 17.3 or newer, or serverless environment 4"
        )
