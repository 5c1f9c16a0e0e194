"""How it is done: one Celery worker a machine, one slot a device, one fresh process per attempt."""
