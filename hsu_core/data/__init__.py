"""Where do images come from? Empty of imports on purpose: importing `files` must load neither torch nor numpy."""
