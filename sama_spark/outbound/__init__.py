"""DataFrame rows become tasks at Sama.

The modules, in the order in which a row meets them:

    create            the way of a run from here to the end, step by step; begin to read there
    creation_options  what the caller chose, and the default of every option, such as the size of a chunk
    few_rows          fetches few rows to the driver, which encodes and cuts them
    creation_schema   what the project accepts, read from Sama
    column_plan       which column goes where
      outputs         how an `output_` column travels: as JSON or as text
      task_fields     what a task has beside its inputs
    encode            a row becomes JSON text, in the JVM
      columns         one expression for many columns of a type
      render          the JSON of each Spark type
      addresses       paths that Sama cannot reach
      problems        reports each row's first problem; its docstring lists what makes a row invalid
      row_keys        what tells a row from others, and whether its content has changed
    encode_values     the same as `encode` for Python values: few rows, and those of the writer of `format("sama")`
      render_values   the JSON of each Spark type, for Python values
    encoded_batch     the encoded rows, on their way to `cut`
    cut               on the workers: check JSON texts, splice them into the tasks, cut the tasks into pieces
      output_schemas  checks pre-annotations against the project's schema
    pieces            from the workers to the driver: in files, or streamed; there packed into chunks
    rejected          rows that cannot become tasks raise, or are kept as data
    outbox            rows that became tasks in an earlier run are left out (a package of its own)
    upload            on the driver: each chunk becomes a batch; when all are uploaded they are claimed, then started
    creation_result   what the caller gets
    dry_run           what the caller gets of a run that sends nothing
      dry_run_warnings  valid pre-annotations that may be a mistake
    wait              what became of each task; `api.batches.poll_jobs` has the pauses
    micro_batches     all of this for each micro-batch of a stream

A batch has one class for each step of its way: `WaitingBatch` (api: opened, without tasks yet) -> `UploadedBatch`
(upload: it has its tasks) -> `StartableBatches` (upload: this run may start them; with an outbox they are
`ClaimedBatches`) -> `BatchJob` (api: Sama creates its tasks) -> `BatchOutcome` (wait: it has ended). In an outbox a
batch is an `UnsettledBatch` until a run finds out how it ended, then a `SettledBatch`.
"""
