"""Deliveries and statuses become DataFrames: feeds -> contract -> table."""
