"""Take a job along to another tool: a file a tool, each through that tool's own library where it has one."""
