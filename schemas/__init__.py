"""What both programs share: the contract, the released Avro schemas, the registry, the settings, the command line."""
