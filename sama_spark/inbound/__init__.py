"""The way back: deliveries become DataFrames and Delta tables.

The modules, in the order in which a delivery meets them:

- `dataframes`: the methods of `Client` that return deliveries and statuses as DataFrames.
- `read`: fetches a feed once and returns it as a DataFrame, for these methods.
- `lines`: the lines of text in which tasks travel from the driver to Spark; writes and cuts them.
- `delivery_types`: the types of `data` and `answers`, from the project's delivery schema.
- `observe`: the schema that JSON texts have, where no schema is declared.
- `dates`: dates in typed columns.
- `times`: times of deliveries as Python values; `data_source` uses it.
- `table`: parses the text of each task into typed columns.
- `annotations`: flattens the answers of tasks into one row for each shape or answer.
- `annotation_batches`: makes Arrow columns of these rows.
- `annotation_columns`: names, types and comments of the columns of annotations.
- `sync`: keeps a project's deliveries in Delta tables, exactly once; it uses all of the above.

What a vendor implements is in `sama_spark.vendors.seam`.
"""
