"""A project's deliveries in Delta tables: land the text, flatten it, type it; each step can be run again."""
