package io.nightmill.jobs.eval;

import com.fasterxml.jackson.core.io.schubfach.DoubleToDecimal;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;

/** Values as Python writes them: {@code str}, {@code repr}, {@code json.dumps}; and hashes of such text. */
final class Python {
    private static final String PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

    /** What {@code str.isspace} says of a character; Java leaves no-break spaces out. */
    private static final String SPACES =
            "\t\n\u000b\f\r\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
                    + "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";

    private Python() {}

    /** {@code text.strip()}: without the white space that Unicode knows, at both ends. */
    static String strip(String text) {
        String left = rstrip(text);
        int from = 0;
        while (from < left.length() && SPACES.indexOf(left.charAt(from)) >= 0) {
            from++;
        }
        return left.substring(from);
    }

    /** {@code text.rstrip()}. */
    static String rstrip(String text) {
        int to = text.length();
        while (to > 0 && SPACES.indexOf(text.charAt(to - 1)) >= 0) {
            to--;
        }
        return text.substring(0, to);
    }

    /** {@code not text.strip()}. */
    static boolean blank(String text) {
        return strip(text).isEmpty();
    }

    /** {@code str(value)}. */
    static String str(JsonNode value) {
        return value.isTextual() ? value.textValue() : repr(value);
    }

    /** {@code repr(value)}. */
    static String repr(JsonNode value) {
        return switch (value.getNodeType()) {
            case STRING -> quoted(value.textValue());
            case BOOLEAN -> value.booleanValue() ? "True" : "False";
            case NULL, MISSING -> "None";
            case ARRAY -> joined(value, Python::repr, ", ", "[", "]");
            case OBJECT -> {
                List<String> fields = new ArrayList<>();
                value.properties().forEach(field -> fields.add(quoted(field.getKey()) + ": " + repr(field.getValue())));
                yield "{" + String.join(", ", fields) + "}";
            }
            default -> number(value);
        };
    }

    private static String joined(
            JsonNode list, Function<JsonNode, String> write, String separator, String open, String close) {
        List<String> parts = new ArrayList<>();
        list.forEach(item -> parts.add(write.apply(item)));
        return open + String.join(separator, parts) + close;
    }

    private static String quoted(String text) {
        char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
        StringBuilder out = new StringBuilder().append(quote);
        text.codePoints().forEach(c -> {
            switch (c) {
                case '\\' -> out.append("\\\\");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                default -> {
                    if (c == quote) {
                        out.append('\\').append(quote);
                    } else if (isPrintable(c)) {
                        out.appendCodePoint(c);
                    } else {
                        out.append(
                                String.format(Locale.ROOT, c < 256 ? "\\x%02x" : c < 65536 ? "\\u%04x" : "\\U%08x", c));
                    }
                }
            }
        });
        return out.append(quote).toString();
    }

    /** As {@code str.isprintable}: no control, format, surrogate, private or unassigned characters, and no space but the usual one. */
    private static boolean isPrintable(int c) {
        return switch (Character.getType(c)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.PRIVATE_USE,
                    Character.UNASSIGNED,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR -> false;
            case Character.SPACE_SEPARATOR -> c == ' ';
            default -> true;
        };
    }

    private static String number(JsonNode value) {
        return value.isIntegralNumber() ? value.asText() : repr(value.doubleValue());
    }

    /** {@code repr(value)}: the shortest digits that read back, with an exponent outside of 1e-4 to 1e16. */
    static String repr(double value) {
        if (Double.isNaN(value)) {
            return "nan";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "inf" : "-inf";
        }
        if (value == 0) {
            return 1 / value < 0 ? "-0.0" : "0.0";
        }
        BigDecimal digits = new BigDecimal(DoubleToDecimal.toString(value));
        // Java writes two digits where Python is content with one.
        BigDecimal one = digits.round(new MathContext(1, RoundingMode.HALF_EVEN));
        digits = (one.doubleValue() == value ? one : digits).stripTrailingZeros();
        int exponent = digits.precision() - digits.scale() - 1;
        if (exponent >= -4 && exponent < 16) {
            String plain = digits.toPlainString();
            return plain.contains(".") ? plain : plain + ".0";
        }
        String mantissa = digits.movePointLeft(exponent).toPlainString();
        return "%se%s%02d".formatted(mantissa, exponent < 0 ? "-" : "+", Math.abs(exponent));
    }

    /** {@code json.dumps(value, ensure_ascii=False)}, in lines if indent is more than 0. */
    static String dumps(JsonNode value, int indent) {
        return dumps(value, indent, 0);
    }

    private static String dumps(JsonNode value, int indent, int depth) {
        String inner = indent == 0 ? "" : "\n" + " ".repeat(indent * (depth + 1));
        String outer = indent == 0 ? "" : "\n" + " ".repeat(indent * depth);
        String separator = indent == 0 ? ", " : "," + inner;
        return switch (value.getNodeType()) {
            case STRING -> json(value.textValue());
            case BOOLEAN -> value.booleanValue() ? "true" : "false";
            case NULL, MISSING -> "null";
            case ARRAY -> value.isEmpty()
                    ? "[]"
                    : joined(value, item -> dumps(item, indent, depth + 1), separator, "[" + inner, outer + "]");
            case OBJECT -> {
                List<String> fields = new ArrayList<>();
                value.properties()
                        .forEach(field ->
                                fields.add(json(field.getKey()) + ": " + dumps(field.getValue(), indent, depth + 1)));
                yield fields.isEmpty() ? "{}" : "{" + inner + String.join(separator, fields) + outer + "}";
            }
            default -> number(value).replace("nan", "NaN").replace("inf", "Infinity");
        };
    }

    private static String json(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            switch (c) {
                case '"' -> out.append("\\\"");
                case '\\' -> out.append("\\\\");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                case '\b' -> out.append("\\b");
                case '\f' -> out.append("\\f");
                default -> {
                    if (c < 0x20) {
                        out.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
                    } else {
                        out.append(c);
                    }
                }
            }
        }
        return out.append('"').toString();
    }

    /** {@code text.isdigit()}, for decimal digits. */
    static boolean isDigit(String text) {
        return !text.isEmpty() && text.codePoints().allMatch(Character::isDigit);
    }

    /** {@code ast.literal_eval(text)}, of lists, tuples, dicts, strings, numbers, booleans and None. */
    static JsonNode literal(String text) {
        return new Literals(text).all();
    }

    /** Without the characters of {@code string.punctuation}. */
    static String withoutPunctuation(String text) {
        return without(text, PUNCTUATION);
    }

    static boolean isPunctuation(char c) {
        return PUNCTUATION.indexOf(c) >= 0;
    }

    static String without(String text, String characters) {
        StringBuilder out = new StringBuilder();
        text.codePoints().filter(c -> characters.indexOf(c) < 0).forEach(out::appendCodePoint);
        return out.toString();
    }

    /** SHA-256 in hexadecimal: the harness's {@code hash_string}. */
    static String hash(String text) {
        try {
            return HexFormat.of()
                    .formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A recursive descent over Python's literals; tuples and lists are both arrays. */
    private static final class Literals {
        private static final JsonNodeFactory MAKE = JsonNodeFactory.instance;

        private final String text;
        private int at;

        Literals(String text) {
            this.text = text;
        }

        JsonNode all() {
            JsonNode value = value();
            space();
            if (at < text.length()) {
                throw wrong("the end");
            }
            return value;
        }

        private IllegalArgumentException wrong(String expected) {
            return new IllegalArgumentException("Cannot read '%s' as a Python literal: expected %s at character %d"
                    .formatted(text.length() > 200 ? text.substring(0, 200) + "…" : text, expected, at));
        }

        private void space() {
            while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
                at++;
            }
        }

        private boolean take(char c) {
            space();
            boolean found = at < text.length() && text.charAt(at) == c;
            at += found ? 1 : 0;
            return found;
        }

        private JsonNode value() {
            space();
            if (take('[')) {
                return items(']');
            }
            if (take('(')) {
                return items(')');
            }
            if (take('{')) {
                return fields();
            }
            if (at < text.length() && (text.charAt(at) == '\'' || text.charAt(at) == '"')) {
                return MAKE.textNode(string());
            }
            int from = at;
            while (at < text.length()
                    && (Character.isLetterOrDigit(text.charAt(at)) || "+-._".indexOf(text.charAt(at)) >= 0)) {
                at++;
            }
            String word = text.substring(from, at);
            switch (word) {
                case "True":
                    return MAKE.booleanNode(true);
                case "False":
                    return MAKE.booleanNode(false);
                case "None":
                    return MAKE.nullNode();
                default:
                    break;
            }
            if (word.matches("[+-]?\\d+")) {
                return integer(new BigInteger(word));
            }
            if (word.matches("[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?")) {
                return MAKE.numberNode(Double.parseDouble(word));
            }
            at = from;
            throw wrong("a value");
        }

        private static JsonNode integer(BigInteger value) {
            return value.bitLength() < 32
                    ? MAKE.numberNode(value.intValue())
                    : value.bitLength() < 64 ? MAKE.numberNode(value.longValue()) : MAKE.numberNode(value);
        }

        private ArrayNode items(char close) {
            ArrayNode list = MAKE.arrayNode();
            while (!take(close)) {
                list.add(value());
                if (!take(',') && !peek(close)) {
                    throw wrong("',' or '" + close + "'");
                }
            }
            return list;
        }

        private boolean peek(char c) {
            space();
            return at < text.length() && text.charAt(at) == c;
        }

        private ObjectNode fields() {
            ObjectNode object = MAKE.objectNode();
            while (!take('}')) {
                JsonNode key = value();
                if (!take(':')) {
                    throw wrong("':'");
                }
                object.set(str(key), value());
                if (!take(',') && !peek('}')) {
                    throw wrong("',' or '}'");
                }
            }
            return object;
        }

        private String string() {
            char quote = text.charAt(at++);
            StringBuilder out = new StringBuilder();
            while (at < text.length() && text.charAt(at) != quote) {
                char c = text.charAt(at++);
                if (c != '\\' || at == text.length()) {
                    out.append(c);
                    continue;
                }
                char escaped = text.charAt(at++);
                switch (escaped) {
                    case 'n' -> out.append('\n');
                    case 'r' -> out.append('\r');
                    case 't' -> out.append('\t');
                    case '\\', '\'', '"' -> out.append(escaped);
                    case 'x' -> out.appendCodePoint(hex(2));
                    case 'u' -> out.appendCodePoint(hex(4));
                    case 'U' -> out.appendCodePoint(hex(8));
                    default -> out.append('\\').append(escaped);
                }
            }
            if (at == text.length()) {
                throw wrong("the closing " + quote);
            }
            at++;
            return out.toString();
        }

        private int hex(int digits) {
            if (at + digits > text.length()) {
                throw wrong(digits + " hexadecimal digits");
            }
            at += digits;
            return Integer.parseInt(text, at - digits, at, 16);
        }
    }
}
