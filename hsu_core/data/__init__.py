"""Where images come from. Empty of imports on purpose: `files` must cost neither torch nor numpy."""
