"""The writers behind `format("sama")`: rows rendered on the workers in Python, sent by the driver at commit."""
