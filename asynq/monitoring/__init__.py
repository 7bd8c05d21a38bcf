"""What a worker or scheduler shows of itself to those who operate it: health over HTTP and to systemd."""
