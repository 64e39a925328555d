import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Asks for products to be pushed to Mirakl again, and prints the request's id: Request MIRAKL_ID:SKU... */
public final class Request {
    public static void main(String[] products) throws Exception {
        ObjectNode body = JsonNodeFactory.instance.objectNode().put("requestedBy", "examples/java");
        for (String product : products) {
            String[] pair = product.split(":", 2);
            body.withArray("products").addObject().put("miraklProductId", pair[0]).put("productSku", pair[1]);
        }
        Events events = new Events();
        GenericRecord request = events.request(body);
        // The client specification as the key keeps its requests in one partition; null: any partition.
        ProducerRecord<String, byte[]> record =
            new ProducerRecord<>(Events.REQUESTS, (String) request.get("clientSpecificationId"), events.encode(request));
        Events.addHeaders(record.headers());
        Map<String, Object> properties = Map.of("bootstrap.servers", Events.BOOTSTRAP);
        try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new ByteArraySerializer())) {
            producer.send(record).get();
        }
        System.out.println(request.get("requestId"));
    }
}
