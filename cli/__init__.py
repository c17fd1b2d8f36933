"""The `aitbc` command: one module per command group, four output formats, stable exit codes."""
