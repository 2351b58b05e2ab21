"""The whole way on one machine: photographs -> tasks -> labels -> Delta tables, by `sama-spark demo`."""
