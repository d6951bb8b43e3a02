"""Recorded runs → statistics, tables and figures. Knows MLflow and run records, never torch or Lightning."""
