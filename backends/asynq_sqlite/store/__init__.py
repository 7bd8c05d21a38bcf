"""The tables of a task file, and the steps that operations are made of."""
