// The CloudEvents SDK for Java: a sender on the JDK's client, and a receiver on the JDK's server.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.http.HttpMessageFactory;
import io.cloudevents.jackson.JsonFormat;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.Executors;

public class Peer {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    if (args.length == 3 && args[0].equals("send")) {
      send(URI.create(args[1]), args[2].equals("structured"));
    } else {
      receive();
    }
  }

  private static void send(URI target, boolean structured) throws Exception {
    HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonNode written = JSON.readTree(line);
      ObjectNode said = JSON.createObjectNode().put("id", written.get("id").asText());
      try {
        CloudEvent event = event(written);
        HttpRequest.Builder request = HttpRequest.newBuilder(target);
        byte[][] body = {new byte[0]};
        var writer =
            HttpMessageFactory.createWriter(request::setHeader, bytes -> body[0] = bytes == null ? new byte[0] : bytes);
        if (structured) {
          writer.writeStructured(event, JsonFormat.CONTENT_TYPE);
        } else {
          writer.writeBinary(event);
        }
        request.POST(HttpRequest.BodyPublishers.ofByteArray(body[0]));
        HttpResponse<String> answer =
            client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        said.put("status", answer.statusCode());
        if (answer.statusCode() >= 300) {
          said.put("error", answer.body());
        }
      } catch (Exception error) {
        said.put("error", error.getClass().getSimpleName() + ": " + error.getMessage());
      }
      System.out.println(JSON.writeValueAsString(said));
    }
  }

  private static CloudEvent event(JsonNode written) {
    CloudEventBuilder builder =
        CloudEventBuilder.v1()
            .withId(written.get("id").asText())
            .withType(written.get("type").asText())
            .withSource(URI.create(written.get("source").asText()));
    if (written.has("subject")) {
      builder.withSubject(written.get("subject").asText());
    }
    if (written.has("time")) {
      builder.withTime(OffsetDateTime.parse(written.get("time").asText()));
    }
    if (written.has("dataschema")) {
      builder.withDataSchema(URI.create(written.get("dataschema").asText()));
    }
    if (written.has("datacontenttype")) {
      builder.withDataContentType(written.get("datacontenttype").asText());
    }
    for (Map.Entry<String, JsonNode> extension : written.get("extensions").properties()) {
      JsonNode value = extension.getValue().get("v");
      String name = extension.getKey();
      switch (extension.getValue().get("t").asText()) {
        case "int" -> builder.withExtension(name, value.asInt());
        case "bool" -> builder.withExtension(name, value.asBoolean());
        case "bytes" -> builder.withExtension(name, Base64.getDecoder().decode(value.asText()));
        case "uri" -> builder.withExtension(name, URI.create(value.asText()));
        case "time" -> builder.withExtension(name, OffsetDateTime.parse(value.asText()));
        default -> builder.withExtension(name, value.asText());
      }
    }
    JsonNode data = written.get("data");
    if (data.has("json")) {
      builder.withData(data.get("json").asText().getBytes(StandardCharsets.UTF_8));
    } else if (data.has("text")) {
      builder.withData(data.get("text").asText().getBytes(StandardCharsets.UTF_8));
    } else if (data.has("base64")) {
      builder.withData(Base64.getDecoder().decode(data.get("base64").asText()));
    }
    return builder.build();
  }

  private static void receive() throws IOException {
    int port = Integer.parseInt(System.getenv("PORT"));
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
    server.setExecutor(Executors.newFixedThreadPool(4));
    server.createContext("/", Peer::handle);
    server.start();
  }

  private static void handle(HttpExchange exchange) throws IOException {
    try (exchange) {
      byte[] body = exchange.getRequestBody().readAllBytes();
      try {
        CloudEvent event =
            HttpMessageFactory.createReaderFromMultimap(exchange.getRequestHeaders(), body)
                .toEvent();
        seen(event);
        CloudEventBuilder reply =
            CloudEventBuilder.v1()
                .withId("reply-" + event.getId())
                .withType("peer.reply")
                .withSource(URI.create("/peers/" + System.getenv("PEER")))
                .withDataContentType("application/json")
                .withData(JSON.writeValueAsBytes(Map.of("seen", event.getId())));
        if (event.getExtension("note") != null) {
          reply.withExtension("note", text(event.getExtension("note")));
        }
        byte[][] answer = {new byte[0]};
        HttpMessageFactory.createWriter(
                exchange.getResponseHeaders()::set, bytes -> answer[0] = bytes)
            .writeBinary(reply.build());
        exchange.sendResponseHeaders(200, answer[0].length);
        exchange.getResponseBody().write(answer[0]);
      } catch (RuntimeException error) {
        byte[] text = error.toString().getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(500, text.length);
        exchange.getResponseBody().write(text);
      }
    }
  }

  /** Notes an event as the API showed it. */
  private static synchronized void seen(CloudEvent event) throws IOException {
    ObjectNode attributes = JSON.createObjectNode();
    for (String name : event.getAttributeNames()) {
      if (event.getAttribute(name) != null) {
        attributes.put(name, text(event.getAttribute(name)));
      }
    }
    for (String name : event.getExtensionNames()) {
      attributes.put(name, text(event.getExtension(name)));
    }
    ObjectNode line = JSON.createObjectNode();
    line.set("attributes", attributes);
    byte[] data = event.getData() == null ? new byte[0] : event.getData().toBytes();
    line.put("bytes", Base64.getEncoder().encodeToString(data));
    Files.writeString(
        Path.of(System.getenv("SEEN")),
        JSON.writeValueAsString(line) + "\n",
        StandardOpenOption.CREATE,
        StandardOpenOption.APPEND);
  }

  /** An attribute's value as the CloudEvents canonical text. */
  private static String text(Object value) {
    if (value instanceof byte[] bytes) {
      return Base64.getEncoder().encodeToString(bytes);
    }
    if (value instanceof OffsetDateTime at) {
      return at.format(DateTimeFormatter.ISO_OFFSET_DATE_TIME);
    }
    return value.toString();
  }
}
