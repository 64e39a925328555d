import java.io.PrintStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.MessageFormatter;

/** Prints each result that kafka-console-consumer.sh reads as a line of JSON: --formatter JsonFormatter. */
public final class JsonFormatter implements MessageFormatter {
    private final Events events = new Events();

    @Override
    public void writeTo(ConsumerRecord<byte[], byte[]> record, PrintStream output) {
        output.println(events.decode(record.value()));
    }
}
