"""What is said on the topics: the released Avro schemas, their codec, their registry."""
