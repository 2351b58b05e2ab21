"""Sama's answers as rows of the table `annotations`, and Sama's columns of tasks. Its calls are in `sama_spark.api`.

- `envelope`: the columns of a task beside `data` and `answers`
- `reader`: turns the answers of one task into annotations
- `answer_json`: parses the parts of answers, and leaves out what it cannot read
"""
