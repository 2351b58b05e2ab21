"""What a scheduled job runs: a YAML file in, a line of JSON out."""
