"""The outbox: a Delta ledger of what was sent, which makes reruns, concurrent drivers and killed runs safe."""
