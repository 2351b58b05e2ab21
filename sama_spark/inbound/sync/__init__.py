"""A project's deliveries in Delta tables, each exactly once.

A sync lands the text first, and makes everything else from what has landed. `tasks` is written last, and a task counts
as done when its row there is current. So a sync can die anywhere: the next one finds by comparison what is left to do.
The place at which a feed goes on follows from the rows, and is never ahead of them.

The modules, in the order in which a delivery meets them:

- `sync_options`: the options of `Client.sync`.
- `sync_run`: one sync, feed by feed; it knows no vendor.
- `tables`: the tables of a project, their columns, and to which project they belong. The
  columns of `annotations` are in `inbound.annotation_columns`.
- `watermark`: how far the tables have come, and so where a feed goes on.
- `feeds`: what Sama's feeds deliver, and how to ask for it.
- `landing`: appends deliveries to `deliveries_raw` as text, each once.
- `held`: few deliveries, which the driver holds until they are in all tables.
- `landed`: what the tables have already, where the driver can compare it.
- `changed`: finds the landed deliveries that are newer than `tasks`.
- `table_types`: the types of `data` and `answers` that `tasks` keeps; they only grow.
- `upsert`: replaces the rows of changed tasks in `annotations`, then in `tasks`.
- `masks`: copies masks before their links expire.
- `unreadable`: reports deliveries that cannot be read as tasks.
- `label`: reports a `label` that no shape has.
- `sync_result`: the result, as a user sees it and as `runs` keeps it.
- `views`: views over the tables, such as `labels_current`.

`sama_spark.purge` removes tasks, or a whole project, from the tables.
"""
