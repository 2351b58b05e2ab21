"""Sama's answers as rows of the table `annotations`. Sama's calls are in `sama_spark.api`.

- `reader`: turns the answers of one task into annotations
- `answer_json`: parses the parts of answers, also where the JSON is odd
"""
