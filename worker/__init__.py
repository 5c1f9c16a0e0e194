"""How are jobs run? One Celery worker a machine, one slot a device, one fresh process per attempt."""
