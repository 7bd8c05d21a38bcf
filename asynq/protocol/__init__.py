"""The broker protocol: what a broker is asked, what it answers, and the values both carry."""
