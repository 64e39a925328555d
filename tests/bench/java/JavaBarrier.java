import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The plain solution, exactly once: poll, make all calls, wait for all of them, then publish all results and the
 * offsets in one transaction. {@code java JavaBarrier SETTINGS NUMBER}
 */
public final class JavaBarrier {
    private final Events events;
    private final Cm21 cm21;
    private final int requestsPerCall;
    private final int concurrentCalls;

    private JavaBarrier(Settings settings) throws IOException {
        events = new Events(settings);
        cm21 = new Cm21(settings);
        requestsPerCall = settings.number("requests.per.call");
        concurrentCalls = settings.number("concurrent.calls");
    }

    public static void main(String[] arguments) throws IOException {
        Settings settings = Settings.read(arguments[0]);
        JavaBarrier barrier = new JavaBarrier(settings);
        Map<String, Object> reading = Map.of("max.poll.records", 10_000, "max.partition.fetch.bytes", 1 << 18);
        Map<String, Object> writing =
            Map.of("transactional.id", settings.get("group") + "-" + arguments[1], "retry.backoff.ms", 5);
        try (KafkaConsumer<byte[], byte[]> consumer = KafkaClients.consumer(settings, reading);
            KafkaProducer<byte[], byte[]> producer = KafkaClients.producer(settings, writing)) {
            producer.initTransactions();
            consumer.subscribe(List.of(settings.get("requests")));
            while (true) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) {
                    continue;
                }
                List<ProducerRecord<byte[], byte[]>> results = barrier.answer(records);
                producer.beginTransaction();
                results.forEach(producer::send);
                producer.sendOffsetsToTransaction(records.nextOffsets(), consumer.groupMetadata());
                producer.commitTransaction();
            }
        }
    }

    /** Makes the calls for all records and waits for the last of them. */
    private List<ProducerRecord<byte[], byte[]>> answer(ConsumerRecords<byte[], byte[]> records) {
        Map<String, List<Events.Request>> byClient = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            Events.Request request = events.request(record);
            byClient.computeIfAbsent(request.clientSpecificationId(), client -> new ArrayList<>()).add(request);
        }
        Queue<List<ProducerRecord<byte[], byte[]>>> results = new ConcurrentLinkedQueue<>();
        CompletableFuture<?>[] lanes = byClient.entrySet().stream()
            .flatMap(entry -> lanes(entry.getKey(), batches(entry.getValue()), results))
            .toArray(CompletableFuture<?>[]::new);
        CompletableFuture.allOf(lanes).join();
        return results.stream().flatMap(List::stream).toList();
    }

    private Queue<List<Events.Request>> batches(List<Events.Request> requests) {
        Queue<List<Events.Request>> batches = new ConcurrentLinkedQueue<>();
        for (int start = 0; start < requests.size(); start += requestsPerCall) {
            batches.add(requests.subList(start, Math.min(start + requestsPerCall, requests.size())));
        }
        return batches;
    }

    private Stream<CompletableFuture<Void>> lanes(
        String client, Queue<List<Events.Request>> batches, Queue<List<ProducerRecord<byte[], byte[]>>> results) {
        return Stream.generate(() -> lane(client, batches, results)).limit(concurrentCalls);
    }

    /** Makes one call after the other until none is left. */
    private CompletableFuture<Void> lane(
        String client, Queue<List<Events.Request>> batches, Queue<List<ProducerRecord<byte[], byte[]>>> results) {
        List<Events.Request> batch = batches.poll();
        if (batch == null) {
            return CompletableFuture.completedFuture(null);
        }
        return cm21.synchronize(client, batch)
            .thenAccept(trackingId -> results.add(events.results(batch, trackingId)))
            .thenCompose(done -> lane(client, batches, results));
    }
}
