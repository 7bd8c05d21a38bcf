"""The application of the example: a task, and a schedule that enqueues it."""

import os

import asynq

mux = asynq.ServeMux()


@mux.task("report:build")
def build_report(customer: int) -> None:
    """Stands for the work of the application."""
    print("report for customer", customer)


scheduler = asynq.Scheduler(os.environ["ASYNQ_BROKER"])
scheduler.register("@every 30s", build_report(42))
