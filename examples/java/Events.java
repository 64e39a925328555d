import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.common.header.Headers;

/** Requests to bytes, and results back: in the Confluent wire format with a registry, else in single-object encoding. */
final class Events {
    static final String BOOTSTRAP = setting("RESYNC_KAFKA__BOOTSTRAP_SERVERS", "localhost:9092");
    static final String REQUESTS = setting("RESYNC_TOPICS__REQUESTS", "mirakl.product-resync.requests.v1");
    static final String RESULTS = setting("RESYNC_TOPICS__RESULTS", "mirakl.product-resync.results.v1");

    private static final Path SCHEMAS = Path.of(setting("RESYNC_EXAMPLES_SCHEMAS", "../../schemas"));
    private static final String REGISTRY = setting("RESYNC_SCHEMA_REGISTRY__URL", "");
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Schema requests = schema("product_resync_requested/v1.avsc");
    private final Schema results = schema("product_resync_result/v1.avsc");
    private final HttpClient http = HttpClient.newHttpClient();
    private final Map<Integer, Schema> writers = new HashMap<>();
    private Integer requestSchemaId;

    /** A request with a new id; {@code body} is that of the HTTP operation. */
    GenericRecord request(JsonNode body) {
        Schema product = requests.getField("products").schema().getElementType();
        List<GenericRecord> products = new ArrayList<>();
        for (JsonNode each : body.path("products")) {
            GenericRecord pair = new GenericData.Record(product);
            pair.put("miraklProductId", each.path("miraklProductId").asText());
            pair.put("productSku", each.path("productSku").asText());
            products.add(pair);
        }
        GenericRecord request = new GenericData.Record(requests);
        request.put("requestId", UUID.randomUUID().toString());
        request.put("clientSpecificationId", body.path("clientSpecificationId").asText(null));
        request.put("products", products);
        request.put("requestedAt", System.currentTimeMillis());
        request.put("requestedBy", body.path("requestedBy").asText(System.getProperty("user.name")));
        request.put("reason", body.path("reason").asText(null));
        return request;
    }

    /** Headers that identify the requester. */
    static void addHeaders(Headers headers) {
        headers.add("dj-client", "OPERATOR".getBytes(StandardCharsets.UTF_8));
        headers.add("dj-api-key", setting("RESYNC_API_KEY", "").getBytes(StandardCharsets.UTF_8));
    }

    byte[] encode(GenericRecord request) {
        try {
            if (REGISTRY.isEmpty()) {
                ByteBuffer value = new BinaryMessageEncoder<GenericRecord>(GenericData.get(), requests).encode(request);
                byte[] bytes = new byte[value.remaining()];
                value.get(bytes);
                return bytes;
            }
            ByteArrayOutputStream value = new ByteArrayOutputStream();
            value.write(ByteBuffer.allocate(5).put((byte) 0).putInt(requestSchemaId()).array());
            BinaryEncoder body = EncoderFactory.get().binaryEncoder(value, null);
            new GenericDatumWriter<GenericRecord>(requests).write(request, body);
            body.flush();
            return value.toByteArray();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Reads a result of either framing, whatever compatible schema it was written with. */
    GenericRecord decode(byte[] value) {
        try {
            if (value[0] != 0) {
                return new BinaryMessageDecoder<GenericRecord>(GenericData.get(), results).decode(value);
            }
            Schema writer = writers.computeIfAbsent(ByteBuffer.wrap(value).getInt(1), this::writerSchema);
            return new GenericDatumReader<GenericRecord>(writer, results)
                .read(null, DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static JsonNode json(String text) {
        try {
            return JSON.readTree(text);
        } catch (IOException error) {
            throw new IllegalArgumentException("not JSON: " + text, error);
        }
    }

    /** The id under which our schema is registered; `mirakl-resync-consumer schemas register` registers it. */
    private int requestSchemaId() {
        if (requestSchemaId == null) {
            String subject = URLEncoder.encode(REQUESTS + "-value", StandardCharsets.UTF_8);
            String ours = JSON.createObjectNode().put("schema", requests.toString()).toString();
            requestSchemaId = ask(HttpRequest.newBuilder(URI.create(REGISTRY + "/subjects/" + subject))
                .header("content-type", "application/vnd.schemaregistry.v1+json")
                .POST(HttpRequest.BodyPublishers.ofString(ours))).get("id").asInt();
        }
        return requestSchemaId;
    }

    private Schema writerSchema(int id) {
        JsonNode found = ask(HttpRequest.newBuilder(URI.create(REGISTRY + "/schemas/ids/" + id)));
        return new Schema.Parser().parse(found.get("schema").asText());
    }

    private JsonNode ask(HttpRequest.Builder question) {
        try {
            HttpResponse<String> answer = http.send(question.build(), HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException("The schema registry answers " + answer.statusCode() + ": " + answer.body());
            }
            return json(answer.body());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private static Schema schema(String file) {
        try {
            return new Schema.Parser().parse(Files.readString(SCHEMAS.resolve(file)));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
