import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/**
 * Confluent's Parallel Consumer, at least once: many threads, each with one batch, which complete in any order.
 * {@code java ParallelConsumer SETTINGS}
 */
public final class ParallelConsumer {
    private final Events events;
    private final Cm21 cm21;
    private final int concurrentCalls;
    private final Map<String, Semaphore> calls = new ConcurrentHashMap<>();
    private final KafkaProducer<byte[], byte[]> producer;

    private ParallelConsumer(Settings settings) throws IOException {
        events = new Events(settings);
        cm21 = new Cm21(settings);
        concurrentCalls = settings.number("concurrent.calls");
        producer = KafkaClients.producer(settings, Map.of());
    }

    public static void main(String[] arguments) throws IOException {
        Settings settings = Settings.read(arguments[0]);
        ParallelConsumer peer = new ParallelConsumer(settings);
        Map<String, Object> reading = Map.of("max.poll.records", 5_000, "max.partition.fetch.bytes", 1 << 16);
        ParallelStreamProcessor<byte[], byte[]> processor = ParallelStreamProcessor.createEosStreamProcessor(
            ParallelConsumerOptions.<byte[], byte[]>builder()
                .consumer(KafkaClients.consumer(settings, reading))
                .ordering(ProcessingOrder.UNORDERED)
                .batchSize(settings.number("requests.per.call"))
                .maxConcurrency(64)
                .commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
                .build());
        processor.subscribe(List.of(settings.get("requests")));
        processor.poll(context -> peer.answer(context.getConsumerRecordsFlattened()));
    }

    /** Makes the calls for a batch, one for each client specification in it, and publishes its results. */
    private void answer(List<ConsumerRecord<byte[], byte[]>> records) {
        Map<String, List<Events.Request>> byClient = records.stream()
            .map(events::request)
            .collect(Collectors.groupingBy(Events.Request::clientSpecificationId));
        List<CompletableFuture<List<ProducerRecord<byte[], byte[]>>>> answers = byClient.entrySet().stream()
            .map(entry -> call(entry.getKey(), entry.getValue()))
            .toList();
        List<Future<RecordMetadata>> published = answers.stream()
            .flatMap(answer -> answer.join().stream())
            .map(producer::send)
            .toList();
        published.forEach(ParallelConsumer::await);
    }

    private CompletableFuture<List<ProducerRecord<byte[], byte[]>>> call(String client, List<Events.Request> batch) {
        Semaphore limit = calls.computeIfAbsent(client, any -> new Semaphore(concurrentCalls));
        limit.acquireUninterruptibly();
        return cm21.synchronize(client, batch)
            .whenComplete((trackingId, failure) -> limit.release())
            .thenApply(trackingId -> events.results(batch, trackingId));
    }

    private static void await(Future<RecordMetadata> published) {
        try {
            published.get();
        } catch (ExecutionException | InterruptedException failure) { // the library calls again with the same batch
            throw new IllegalStateException(failure);
        }
    }
}
