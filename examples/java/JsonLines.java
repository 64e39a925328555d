import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.tools.api.RecordReader;

/** Makes a request of each line that kafka-console-producer.sh reads: --line-reader JsonLines. */
public final class JsonLines implements RecordReader {
    private final Events events = new Events();

    @Override
    public Iterator<ProducerRecord<byte[], byte[]>> readRecords(InputStream input) {
        return new BufferedReader(new InputStreamReader(input, StandardCharsets.UTF_8)).lines().map(this::record).iterator();
    }

    private ProducerRecord<byte[], byte[]> record(String line) {
        byte[] value = events.encode(events.request(Events.json(line)));
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(Events.REQUESTS, value);
        Events.addHeaders(record.headers());
        return record;
    }
}
