"""Scheduled jobs: a YAML file in, a line of JSON out. `sama-spark <job> conf/<job>.yml` begins here.

In the order in which a job meets them:

- `load`: reads the YAML file and overrides, and names the field that is wrong.
- `config`: the fields of each job, with types and defaults; the options of a call come from the call's own
  struct, `CreationOptions` or `SyncOptions`.
- `fields`: describes these fields for `--help` and for errors.
- `process`: logging and SIGTERM, for as long as the job runs.
- `run`: runs one job from its file to its last line, whatever happens between.
- `work`: calls `Client` as the job says, and collects the numbers of its line.
- `record`: appends the row of `runs`, sets task values, writes the line of JSON.
- `doctor`, `probes`: check whether a job could run here, and change nothing at Sama.
"""
