"""Sama's feeds: each keeps some of a project's tables up to date.

Two feeds bring deliveries. They implement `sama_spark.vendors.seam.Feed`, and `sync_run` lands what they read. The
other three keep tables of their own and implement `sync_run.TableFeed`.

- `sama_feeds`: the feeds of deliveries, "delivered" and "since_last_call", and the list of feeds for one sync.
- `status_feed`: "status", the history of each task's states, and `tasks.current_state`.
- `status_round`: one round through Sama's lists by state, over as many runs as it takes.
- `batch_feed`: "batches", the creation jobs of the batches.
- `stats_feed`: "stats", Sama's own counts.
"""
