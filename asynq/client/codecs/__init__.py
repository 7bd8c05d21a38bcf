"""Codecs of payloads: which declared types there are decoders for, and whether a value arrives unaltered."""
