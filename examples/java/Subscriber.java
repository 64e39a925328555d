import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Prints results as JSON, a line each, until those of the given requests have come: Subscriber [REQUEST_ID]... */
public final class Subscriber {
    public static void main(String[] requestIds) {
        Events events = new Events();
        Set<String> waiting = new HashSet<>(List.of(requestIds));
        Map<String, Object> properties = Map.of(
            "bootstrap.servers", Events.BOOTSTRAP,
            "group.id", System.getenv().getOrDefault("RESYNC_EXAMPLES_GROUP", "resync-examples"),
            "isolation.level", "read_committed", // not the default: otherwise results of aborted transactions are seen
            "enable.auto.commit", false,
            "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(Events.RESULTS));
            while (requestIds.length == 0 || !waiting.isEmpty()) {
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(events.decode(record.value()));
                    waiting.remove(record.key());
                }
                consumer.commitSync(); // after the work, so that a crash repeats it
            }
        }
    }
}
