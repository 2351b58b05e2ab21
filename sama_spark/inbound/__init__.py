"""The way back: deliveries become DataFrames and Delta tables.

The modules, in the order in which a delivery meets them:

- `read`: fetches a feed once and returns it as a DataFrame, for the functions of `Client`.
- `lines`: the lines of text in which tasks travel from the driver to Spark; writes and cuts them.
- `delivery_types`: the types of `data` and `answers`, from the project's delivery schema.
- `observe`: the schema that JSON texts have, where no schema is declared.
- `dates`: dates in typed columns.
- `table`: parses the text of each task into typed columns.
- `annotations`: flattens the answers of tasks into one row for each shape or answer.
- `sync`: keeps a project's deliveries in Delta tables, exactly once; it uses all of the above.

What the engine asks of a vendor is in `sama_spark.vendors.seam`.
"""
