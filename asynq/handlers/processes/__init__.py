"""Handlers in processes of their own: started when needed, killed when their run must end."""
