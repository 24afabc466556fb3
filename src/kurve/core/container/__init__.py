"""The container of all files: arrays and JSON, checked while they are read, never
executed."""
