"""The JSON API: one table of endpoints, which the pages use too."""
