"""The schema registry: its client, references to schemas, registration of ours."""
