"""The broker protocol: the `Broker` interface, its operations, and the values that both sides exchange."""
