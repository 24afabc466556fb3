"""The container format of all files: arrays and JSON, validated while reading and never
executed."""
