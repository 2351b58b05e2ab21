"""A local SamaHub, for demos, tests and CI without an account.

SamaHub is Sama's platform for annotation, with its API and upload store.

The sandbox knows nothing of the connector and could be a package of its own. Its modules, in the order in which a
call meets them:

- `sandbox`: `Sandbox`, what a program uses: starts and stops the server, lets people annotate, moves the
  clock, and makes calls fail.
- `server_process`, `__main__`, `server`: the process in which the server runs, and its socket.
- `guard`: refuses web pages and control calls without the key.
- `faults`: counts and logs the calls, and lets those fail that `Sandbox.fail` has named.
- `app`: the routes: API, upload and asset stores, control interface.
- `requests`, `refusals`: what comes in, read strictly; refusals in the form in which Sama words them.
- `endpoints`: a method for each call of the API.
- `control`: commands and ready-made deliveries from `Sandbox`.
- `hub`: projects, keys and limits of one server, and the commands.
- `project`, `batch`, `task`: a project with its tasks and their states, batches that create tasks, the tasks' texts.
- `definitions`, `scene_shapes`: inputs and outputs of a project, and the check of a task's data.
- `schemas`: the two JSON Schema documents of a project.
- `annotators`, `png_masks`: simulated people, and the masks that they paint.
- `reading`: pages of tasks: by status, delivered since a time, delivered since the last call.
- `switches`: what Sama leaves open, each choice to be tried.
- `signing`, `clock`: URLs that expire, and time that can be moved on.
"""

from __future__ import annotations

from sama_spark.sandbox.sandbox import Sandbox
from sama_spark.sandbox.server import DEFAULT_KEY, run
from sama_spark.sandbox.server_process import SandboxError
from sama_spark.sandbox.switches import Switches

__all__ = ["DEFAULT_KEY", "Sandbox", "SandboxError", "Switches", "run"]
