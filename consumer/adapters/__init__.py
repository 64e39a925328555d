"""One library a file: the thin shells between the engine and the world."""
