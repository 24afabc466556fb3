"""The container format of all files: arrays and JSON, checked while they are read and
never executed."""
