"""The talk's tables: many ways to restore pictures, on many tasks, by one protocol."""
