"""Wake-ups, cancellations and changes of tasks: how listeners and watchers of a process learn of them."""
