"""Reading through `format("sama")`: planning fetches and stages, workers read the stage."""
