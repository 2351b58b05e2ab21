"""DataFrame rows become tasks: contract -> encode -> chunk -> upload."""
