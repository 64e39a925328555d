"""Code that both programs share: contract, released Avro schemas, registry, settings, command line."""
