"""The whole way on one machine, by `sama-spark demo`: photographs -> tasks -> labels -> Delta tables -> a picture.

- `photographs`: cuts photographs of scikit-image into tiles and finds objects in them
- `steps`: makes tasks of the tiles in a sandbox, syncs the labels, asks SQL and draws
"""
