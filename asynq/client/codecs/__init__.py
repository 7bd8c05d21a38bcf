"""Codecs of payloads: canonical JSON, decoders of declared types, and round-trip verification."""
