"""The background loops of a server. Each is a class whose `step` method is called at intervals."""
