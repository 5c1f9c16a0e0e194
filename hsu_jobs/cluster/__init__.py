"""Which job runs where and when? Machines, the queue's order, quotas and quotes."""
