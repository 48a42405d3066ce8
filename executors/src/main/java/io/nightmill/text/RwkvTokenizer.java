package io.nightmill.text;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * RWKV's "world" vocabulary ({@code rwkv_vocab_v20230424.txt}): at each place the longest piece of bytes that the vocabulary
 * has. Its file lists {@code id piece length}, the piece as a Python literal of text or bytes. Id 0 ends a text.
 */
public final class RwkvTokenizer implements Tokenizer {
    /** A place in the tree of pieces. */
    private static final class Node {
        final Map<Byte, Node> next = new HashMap<>();
        int id = -1;
    }

    private final Node root = new Node();
    private final List<byte[]> pieces = new ArrayList<>();
    private final int vocabularySize;

    /** @throws IllegalArgumentException naming the line that is wrong */
    public RwkvTokenizer(List<String> lines, int vocabularySize) {
        this.vocabularySize = vocabularySize;
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i);
            int open = line.indexOf(' ');
            int close = line.lastIndexOf(' ');
            if (open < 1 || close <= open) {
                throw wrong(i, line, "expected 'id piece length'");
            }
            byte[] piece = literal(line.substring(open + 1, close), i);
            if (piece.length != Integer.parseInt(line.substring(close + 1))) {
                throw wrong(i, line, "the piece has %d bytes".formatted(piece.length));
            }
            add(Integer.parseInt(line.substring(0, open)), piece);
        }
    }

    private static IllegalArgumentException wrong(int i, String line, String why) {
        return new IllegalArgumentException(
                "Cannot read line %d of the RWKV vocabulary, '%s': %s".formatted(i + 1, line, why));
    }

    private void add(int id, byte[] piece) {
        while (pieces.size() <= id) {
            pieces.add(new byte[0]);
        }
        pieces.set(id, piece);
        Node node = root;
        for (byte b : piece) {
            node = node.next.computeIfAbsent(b, key -> new Node());
        }
        node.id = id;
    }

    /** The bytes of Python's {@code 'text'} or {@code b'bytes'}, in either quotes. */
    private static byte[] literal(String source, int line) {
        boolean bytes = source.startsWith("b");
        String body = source.substring(bytes ? 2 : 1, source.length() - 1);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int i = 0; i < body.length(); ) {
            int point = body.codePointAt(i);
            i += Character.charCount(point);
            if (point == '\\') {
                char kind = body.charAt(i++);
                int digits =
                        switch (kind) {
                            case 'x' -> 2;
                            case 'u' -> 4;
                            case 'U' -> 8;
                            default -> 0;
                        };
                point = digits > 0
                        ? Integer.parseInt(body.substring(i, i + digits), 16)
                        : switch (kind) {
                            case 't' -> '\t';
                            case 'n' -> '\n';
                            case 'r' -> '\r';
                            case '\\', '\'', '"' -> kind;
                            default -> throw wrong(line, source, "unknown escape \\" + kind);
                        };
                i += digits;
            }
            if (bytes) {
                out.write(point);
            } else {
                out.writeBytes(Character.toString(point).getBytes(StandardCharsets.UTF_8));
            }
        }
        return out.toByteArray();
    }

    @Override
    public int[] encode(String text, boolean special) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        List<Integer> ids = new ArrayList<>();
        for (int from = 0; from < bytes.length; ) {
            Node node = root.next.get(bytes[from]);
            int best = -1;
            int end = from;
            for (int at = from; node != null; ) {
                at++;
                if (node.id >= 0) {
                    best = node.id;
                    end = at;
                }
                node = at < bytes.length ? node.next.get(bytes[at]) : null;
            }
            if (best < 0) {
                throw new IllegalArgumentException("Cannot tokenize byte %d at %d: the vocabulary has no piece for it"
                        .formatted(bytes[from] & 0xff, from));
            }
            ids.add(best);
            from = end;
        }
        return ids.stream().mapToInt(Integer::intValue).toArray();
    }

    @Override
    public String decode(int[] ids, boolean skipSpecial) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int id : ids) {
            if (id < pieces.size()) {
                out.writeBytes(pieces.get(id));
            }
        }
        return out.toString(StandardCharsets.UTF_8);
    }

    @Override
    public int vocabularySize() {
        return vocabularySize;
    }
}
