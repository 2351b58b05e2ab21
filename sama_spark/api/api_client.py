"""`ApiClient`: one method per endpoint of Sama's API, with plain dicts and generators."""

from __future__ import annotations

import logging
import random
from typing import NoReturn

from sama_spark.api.calls import number_up_to
from sama_spark.api.creation import Creation
from sama_spark.api.feeds import Feeds
from sama_spark.api.projects import Projects
from sama_spark.api.sama_dialect import SamaDialect
from sama_spark.api.tasks import Tasks
from sama_spark.errors import InvalidInput
from sama_spark.http.retry import Clock, SystemClock
from sama_spark.http.secrets import Secret
from sama_spark.http.transport import Transport

_log = logging.getLogger("sama_spark")


class ApiClient(Projects, Creation, Tasks, Feeds):
    """Sama's API for one account; safe to share between threads. A client holds the key, so it cannot be pickled.

    Calls are repeated as far as that is safe: reading, uploading and opening batches freely; creating, submitting,
    rejecting, deleting and continuing only if the server has surely not carried out the first try; since-last-call
    never. Waits grow exponentially with jitter, and `Retry-After` is honoured.

    Args:
        api_key: the account's key; sent as the query parameter `access_key`, shown nowhere.
        silent: True for no output but warnings while a failing call is repeated. False for one line per call, to
            `logger`, or printed where there is no `logger`.
        logger: where the lines go.
        log_level: the level of the lines. A call that is repeated is reported at its first failure and then now and
            then, as a warning of the logger "sama_spark" where `silent` is True. That logger has each try at DEBUG.
        base_url: the API's address up to its version, such as the one of a sandbox.
        experimental: True allows the calls whose paths are assumptions.
        status_page_size: tasks per page of the status list, 1 to 100; more counts as 100.
        delivered_page_size: tasks per page of deliveries, 1 to 1,000; more counts as 1,000.
        pages_in_flight: pages of deliveries that are asked for at once, 1 to 16; more counts as 16. After a 429 one
            page at a time is asked for, until the list ends.
        batch_page_size: tasks per page of a batch's items, 1 to 1,000; more counts as 1,000.
        connect_timeout: seconds to wait for a connection; above 0, a day at most.
        read_timeout: seconds to wait for a reply, and for each further piece of the reply; above 0, a day at most.
        deadline: seconds for one call with all its retries; above 0, a day at most. Large uploads get more. If no
            server has ever answered this client, a call that gets no connection ends after 30 s.
        clock: time, for tests to replace.
        rng: chance, for tests to replace.

    Raises:
        InvalidInput: an argument cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        silent: bool = True,
        logger: logging.Logger | None = None,
        log_level: int = logging.INFO,
        *,
        base_url: str = "https://api.sama.com/v2",
        experimental: bool = False,
        status_page_size: int = 100,
        delivered_page_size: int = 1000,
        pages_in_flight: int = 4,
        batch_page_size: int = 1000,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
        deadline: float = 300.0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._key = Secret(api_key.strip() if isinstance(api_key, str) else "")
        # A traceback with locals must not show the key if anything below raises.
        del api_key
        if not (self._key and self._key.reveal().isascii() and self._key.reveal().isprintable()):
            raise InvalidInput("api_key is no text that a key can be", remedy="Give your Sama account's key.")
        if logger is not None and not callable(getattr(logger, "log", None)):
            raise InvalidInput(f"logger is no logging.Logger but {type(logger).__name__}", column="logger")
        if isinstance(log_level, bool) or not isinstance(log_level, int):
            raise InvalidInput(f"log_level is {log_level!r}: a level of logging, such as logging.INFO, is due")
        self.silent = silent
        self.logger = logger
        self.log_level = log_level
        self.clock = clock or SystemClock()
        self._experimental = experimental
        self._status_page_size = number_up_to(status_page_size, 1, 100, "status_page_size")
        self._delivered_page_size = number_up_to(delivered_page_size, 1, 1000, "delivered_page_size")
        self._pages_in_flight = number_up_to(pages_in_flight, 1, 16, "pages_in_flight")
        self._batch_page_size = number_up_to(batch_page_size, 1, 1000, "batch_page_size")
        self._transport = Transport(
            SamaDialect(self._key),
            base_url,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            deadline=deadline,
            report=self._report,
            warn=self._warn,
            clock=self.clock,
            rng=rng or random.Random(),  # noqa: S311 - jitter is no secret
        )

    @property
    def api_key(self) -> str:
        """The key in clear. Everything else that shows the client leaves the key out."""
        return self._key.reveal()

    @property
    def base_url(self) -> str:
        """The API's address up to its version."""
        return self._transport.base_url

    def close(self) -> None:
        """Close idle connections. The client stays usable."""
        self._transport.close()

    def _report(self, line: str) -> None:
        if self.silent:
            return
        if self.logger is not None:
            self.logger.log(self.log_level, "Sama API: %s", line)
        else:
            print(f"Sama API: {line}")

    def _warn(self, line: str) -> None:
        if self.silent:
            _log.warning("Sama API: %s", line)
        else:
            self._report(line)

    def __repr__(self) -> str:
        # A traceback with locals also shows a client whose `__init__` has raised.
        return f"{type(self).__name__}({vars(self).get('_transport')}, api_key=<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is not pickled, because it holds the API key: "
            "make one where it is used, from a secret that is resolved there"
        )
