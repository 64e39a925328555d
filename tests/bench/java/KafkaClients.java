import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A peer's consumer and producer: what all peers have in common, and the properties that each is tuned with. */
final class KafkaClients {
    private KafkaClients() {}

    static KafkaConsumer<byte[], byte[]> consumer(Settings settings, Map<String, Object> tuned) {
        Map<String, Object> common = Map.of(
            "bootstrap.servers", settings.get("bootstrap"),
            "group.id", settings.get("group"),
            "auto.offset.reset", "earliest",
            "enable.auto.commit", false,
            "isolation.level", "read_committed",
            "fetch.max.wait.ms", 100);
        return new KafkaConsumer<>(merged(common, tuned), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static KafkaProducer<byte[], byte[]> producer(Settings settings, Map<String, Object> tuned) {
        Map<String, Object> common = Map.of(
            "bootstrap.servers", settings.get("bootstrap"),
            "linger.ms", 5,
            "batch.size", 1 << 18,
            "buffer.memory", 1 << 26);
        return new KafkaProducer<>(merged(common, tuned), new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static Map<String, Object> merged(Map<String, Object> common, Map<String, Object> tuned) {
        Map<String, Object> properties = new HashMap<>(common);
        properties.putAll(tuned);
        return properties;
    }
}
