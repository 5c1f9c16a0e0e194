"""How is a job exported to another tool? One file for each tool, by the tool's own library where it has one."""
