"""The outbox: a Delta table of the rows that were sent, which makes reruns, concurrent drivers and killed runs safe.

Each row is one task, whatever ends a run and however often it is run again. The order of the steps is a protocol, and
it must not change: upload, claim (one conditional commit that binds row keys to batches), `continue`, record what Sama
says. A batch costs nothing before `continue`, so nothing is claimed earlier. `docs/outbox.md` says what a user gets.
`tests/outbound/outbox/test_stateful.py` runs random orders of runs, failures and kills against the protocol.

    outbox_options  what the caller chose
    outbox          one run and its outbox, step by step; begin to read there
    no_outbox       stands in where a run has no outbox
    run_rows        the run's own rows: their keys, and which of them are known
    ledger          the Delta table: its statements
    ledger_rows     the rows of that table, and the states of a batch
    lease           how long only the owner of a claim may continue its batches
    settle          settles batches that a run left behind: asks for them, continues them, records the answer
    ask_sama        asks Sama about one batch, and makes the answer an event for the ledger
    report          what a run found, for the caller
    task_ids        which task each row became
"""
