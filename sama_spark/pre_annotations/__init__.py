"""Values of `output_<name>` columns, which `create_task_batch_from_table` sends as pre-annotations.

- `from_models`: makes them of the results of models: boxes, polygons, polylines, points, checkboxes, menus.
- `from_answers`: makes them of delivered answers, so that people can correct what other people drew.

Both work on columns and compute nothing before Spark runs. Behind `from_models`:

- `given_columns`: parses the user's columns and describes what is wrong with their values.
- `shapes_column`: builds the value of an image output with its shapes, tags and problems.

A value that cannot be made does not raise, because an error would end the job. It is marked (`api.marked_values`): the
value carries its problem, and its row is reported as one that cannot become a task.
"""
