import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import org.apache.avro.generic.GenericRecord;

/** CM21 calls over HTTP/1.1 with the JDK's client. */
final class Cm21 {
    /** The slowest calls of the benchmark's slow tail take 2.05 s. A longer timeout makes a dead Mirakl cost more. */
    private static final Duration TIMEOUT = Duration.ofSeconds(3);

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final ObjectMapper json = new ObjectMapper();
    private final Map<String, HttpRequest> requests;

    Cm21(Settings settings) {
        requests = settings.baseUrls().entrySet().stream()
            .collect(Collectors.toMap(Map.Entry::getKey, entry -> request(entry.getValue(), settings.get("credential"))));
    }

    /** Sends the products of all requests; completes with the tracking id, or empty if Mirakl gave none. */
    CompletableFuture<Optional<String>> synchronize(String clientSpecificationId, List<Events.Request> batch) {
        HttpRequest request = HttpRequest.newBuilder(requests.get(clientSpecificationId), (name, value) -> true)
            .POST(BodyPublishers.ofByteArray(body(batch)))
            .build();
        return http.sendAsync(request, BodyHandlers.ofByteArray())
            .handle((response, failure) -> failure == null ? trackingId(response) : Optional.empty());
    }

    private static HttpRequest request(String baseUrl, String credential) {
        return HttpRequest.newBuilder(URI.create(baseUrl + "/api/mcm/products/synchronization"))
            .header("Authorization", "Bearer " + credential)
            .header("Content-Type", "application/json")
            .timeout(TIMEOUT)
            .build();
    }

    private byte[] body(List<Events.Request> batch) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(1 << 14);
        try (JsonGenerator entries = json.createGenerator(bytes)) {
            entries.writeStartArray();
            for (Events.Request request : batch) {
                for (GenericRecord product : request.products()) {
                    entries.writeStartObject();
                    entries.writeStringField("mirakl_product_id", product.get("miraklProductId").toString());
                    entries.writeStringField("product_sku", product.get("productSku").toString());
                    entries.writeEndObject();
                }
            }
            entries.writeEndArray();
        } catch (IOException impossible) {
            throw new UncheckedIOException(impossible);
        }
        return bytes.toByteArray();
    }

    private Optional<String> trackingId(HttpResponse<byte[]> response) {
        try {
            return response.statusCode() == 200
                ? Optional.of(json.readTree(response.body()).required("tracking_id").textValue())
                : Optional.empty();
        } catch (IOException | IllegalArgumentException malformed) {
            return Optional.empty();
        }
    }
}
