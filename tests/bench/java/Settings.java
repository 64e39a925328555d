import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;

/** Settings of a peer, from the properties file that the benchmark writes. */
record Settings(Properties properties) {
    private static final String CLIENT = "client.";

    static Settings read(String file) throws IOException {
        Properties properties = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(file))) {
            properties.load(reader);
        }
        return new Settings(properties);
    }

    String get(String name) {
        String value = properties.getProperty(name);
        if (value == null) {
            throw new IllegalArgumentException("The settings lack " + name + ". Add it.");
        }
        return value;
    }

    int number(String name) {
        return Integer.parseInt(get(name));
    }

    /** Returns the base URL of each client specification's Mirakl, by the id of the client specification. */
    Map<String, String> baseUrls() {
        return properties.stringPropertyNames().stream()
            .filter(name -> name.startsWith(CLIENT))
            .collect(Collectors.toMap(name -> name.substring(CLIENT.length()), properties::getProperty));
    }
}
