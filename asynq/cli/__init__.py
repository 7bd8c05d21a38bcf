"""The command line. One module per command, each a thin layer over the library."""
