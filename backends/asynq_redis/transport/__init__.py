"""How requests reach Redis servers: connections, topologies, timeouts, retries and errors."""
