import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Optional;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Request and result events: Avro single-object encoding with the library's generic records. Thread-safe. */
final class Events {
    private static final DateTimeFormatter RFC_3339 =
        DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSxxx").withZone(ZoneOffset.UTC);

    private final BinaryMessageDecoder<GenericRecord> decoder;
    private final BinaryMessageEncoder<GenericRecord> encoder;
    private final Schema result;
    private final Schema error;
    private final Object synchronizedStatus;
    private final Object failedStatus;
    private final String results;
    private final Header source;
    private final Header requestTopic;
    private final Header version = header("ce_specversion", "1.0");
    private final Header type = header("ce_type", "mirakl.resync.v1.ProductResyncResult");
    private final Header contentType = header("content-type", "application/avro");
    private final Header tenant = header("resync-tenant", "default");

    /** A request, and the record that carried it. */
    record Request(ConsumerRecord<byte[], byte[]> record, GenericRecord event) {
        String clientSpecificationId() {
            return event.get("clientSpecificationId").toString();
        }

        @SuppressWarnings("unchecked") // by its schema
        List<GenericRecord> products() {
            return (List<GenericRecord>) event.get("products");
        }
    }

    Events(Settings settings) throws IOException {
        GenericData model = new GenericData();
        model.setFastReaderEnabled(true);
        result = schema(settings.get("results.schema"));
        error = result.getField("error").schema().getTypes().get(1);
        decoder = new BinaryMessageDecoder<>(model, schema(settings.get("requests.schema")));
        encoder = new BinaryMessageEncoder<>(model, result);
        Schema status = result.getField("status").schema();
        synchronizedStatus = new GenericData.EnumSymbol(status, "SYNCHRONIZED");
        failedStatus = new GenericData.EnumSymbol(status, "FAILED");
        results = settings.get("results");
        source = header("ce_source", "urn:mirakl-resync:" + settings.get("group"));
        requestTopic = header("resync-request-topic", settings.get("requests"));
    }

    Request request(ConsumerRecord<byte[], byte[]> record) {
        try {
            return new Request(record, decoder.decode(record.value(), null));
        } catch (IOException malformed) {
            throw new UncheckedIOException(malformed);
        }
    }

    /** Returns the results of requests that shared a call; without a tracking id they are failures. */
    List<ProducerRecord<byte[], byte[]>> results(List<Request> batch, Optional<String> trackingId) {
        long now = System.currentTimeMillis();
        Header time = header("ce_time", RFC_3339.format(Instant.ofEpochMilli(now)));
        return batch.stream().map(request -> result(request, trackingId, now, time)).toList();
    }

    private ProducerRecord<byte[], byte[]> result(Request request, Optional<String> trackingId, long now, Header time) {
        GenericRecord asked = request.event();
        GenericRecord answer = new GenericData.Record(result);
        answer.put("requestId", asked.get("requestId"));
        answer.put("status", trackingId.isPresent() ? synchronizedStatus : failedStatus);
        answer.put("synchronizedProducts", trackingId.isPresent() ? request.products().size() : 0);
        answer.put("clientSpecificationId", asked.get("clientSpecificationId"));
        answer.put("trackingIds", trackingId.map(List::of).orElse(List.of()));
        answer.put("unsynchronizedProducts", List.of());
        answer.put("error", trackingId.isPresent() ? null : outcomeUnknown());
        answer.put("requestedAt", asked.get("requestedAt"));
        answer.put("completedAt", now);
        byte[] key = asked.get("requestId").toString().getBytes(StandardCharsets.UTF_8);
        return new ProducerRecord<>(results, null, key, encoded(answer), headers(request.record(), key, time));
    }

    private List<Header> headers(ConsumerRecord<byte[], byte[]> record, byte[] key, Header time) {
        String place = record.partition() + "/" + record.offset() + "/" + record.timestamp();
        return List.of(
            version,
            header("ce_id", record.topic() + "/" + place),
            type,
            source,
            new RecordHeader("ce_subject", key),
            time,
            contentType,
            requestTopic,
            header("resync-request-partition", Integer.toString(record.partition())),
            header("resync-request-offset", Long.toString(record.offset())),
            tenant);
    }

    private GenericRecord outcomeUnknown() {
        GenericRecord unknown = new GenericData.Record(error);
        unknown.put("httpStatus", 502);
        unknown.put("code", "CM21_OUTCOME_UNKNOWN");
        unknown.put("message", "Mirakl did not confirm the call. Send the request again.");
        unknown.put("retryable", true);
        unknown.put("availableClientSpecificationIds", List.of());
        unknown.put("fieldErrors", List.of());
        return unknown;
    }

    private byte[] encoded(GenericRecord event) {
        try {
            ByteBuffer bytes = encoder.encode(event);
            byte[] copied = new byte[bytes.remaining()];
            bytes.get(copied);
            return copied;
        } catch (IOException impossible) {
            throw new UncheckedIOException(impossible);
        }
    }

    private static Schema schema(String file) throws IOException {
        return new Schema.Parser().parse(Files.readString(Path.of(file)));
    }

    private static Header header(String name, String value) {
        return new RecordHeader(name, value.getBytes(StandardCharsets.UTF_8));
    }
}
