"""Sama's answers as rows of the table `annotations`, and Sama's columns of tasks.

Sama's calls are in `sama_spark.api`, its feeds in `sama_spark.inbound.sync.feeds`.

- `envelope`: the columns of a task beside `data` and `answers`
- `reader`: turns the answers of one task into annotations
- `answer_json`: parses the parts of answers, and leaves out what it cannot read
"""
