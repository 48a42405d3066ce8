package io.nightmill.pipeline;

import static org.apache.spark.sql.functions.coalesce;
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.concat;
import static org.apache.spark.sql.functions.expr;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.row_number;
import static org.apache.spark.sql.functions.sha2;
import static org.apache.spark.sql.functions.struct;
import static org.apache.spark.sql.functions.substring;
import static org.apache.spark.sql.functions.to_json;
import static org.apache.spark.sql.functions.when;

import io.nightmill.runtime.SamplingJson;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.expressions.Window;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.IntegralType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * The input table brought to one shape. Output columns: {@code id, prompt, messages, chat} (JSON), {@code token_ids, choices,
 * choice_ids, sampling} (JSON), {@code problem, keep}.
 */
final class Prompts {
    private static final Pattern PLACE = Pattern.compile("\\{\\{\\s*([^}\\s]+)\\s*}}");
    private static final String CORRUPT = "_corrupt_record";
    private static final int ID_LENGTH = 32;

    private final Dataset<Row> input;
    private final StructType schema;
    private final Set<String> names;
    private final @Nullable String template;
    private final Plan.Kind kind;

    private Prompts(Dataset<Row> input, @Nullable String template, Plan.Kind kind) {
        this.input = input;
        this.schema = input.schema();
        this.names = new TreeSet<>(Arrays.asList(schema.fieldNames()));
        this.template = template;
        this.kind = kind;
    }

    /**
     * @param template a prompt with {@code {{column}}} places, or null
     * @throws IllegalArgumentException if no column can be a prompt
     */
    static Dataset<Row> prepare(Dataset<Row> input, @Nullable String template, List<String> keep, Plan.Kind kind) {
        return new Prompts(input, template, kind).prepare(keep);
    }

    /** Whether the table has continuations or choices to score. */
    static boolean hasContinuations(StructType schema) {
        List<String> names = List.of(schema.fieldNames());
        return names.contains("continuation") || names.contains("choices");
    }

    private Dataset<Row> prepare(List<String> keep) {
        for (String column : keep) {
            require(column, "--keep-columns");
        }
        boolean hasPrompt = template != null
                || names.contains("prompt")
                || names.contains("messages")
                || names.contains("prompt_token_ids");
        if (!hasPrompt) {
            throw new IllegalArgumentException(
                    "Cannot find prompts in the input: it has the columns %s, expected one of prompt, messages,"
                                    .formatted(names)
                            + " prompt_token_ids, or a --prompt-template over other columns");
        }
        Map<String, Column> columns = new LinkedHashMap<>();
        columns.put("prompt", template == null ? text("prompt") : fromTemplate(template));
        columns.put("messages", messages());
        boolean chats = template == null && names.contains("messages");
        columns.put("chat", jsonOf(chats ? ChatOptions.COLUMNS : List.of()));
        columns.put("token_ids", ids("prompt_token_ids"));
        boolean scores = kind != Plan.Kind.GENERATE;
        columns.put("choices", scores ? choices() : lit(null).cast("array<string>"));
        columns.put("choice_ids", scores ? choiceIds() : lit(null).cast("array<array<int>>"));
        columns.put("sampling", kind.generates() ? sampling() : lit(null).cast("string"));
        columns.put("problem", problem());
        columns.put(
                "keep",
                keep.isEmpty()
                        ? lit(null).cast("struct<_:string>")
                        : struct(keep.stream().map(Prompts::named).toArray(Column[]::new)));
        boolean hasId = names.contains("id");
        List<Column> selected = new ArrayList<>();
        selected.add((hasId ? named("id").cast("string") : lit(null).cast("string")).as("given_id"));
        columns.forEach((name, column) -> selected.add(column.as(name)));
        Dataset<Row> shaped = input.select(selected.toArray(new Column[0]));
        Column[] content = columns.keySet().stream()
                .filter(name -> !name.equals("keep"))
                .map(Prompts::named)
                .toArray(Column[]::new);
        Dataset<Row> hashed = shaped.withColumn("hash", substring(sha2(to_json(struct(content)), 256), 1, ID_LENGTH));
        if (hasId) {
            return hashed.withColumn("id", coalesce(col("given_id"), col("hash")));
        }
        // Rows of equal content are told apart by what they carry; where that is equal too, they are exchangeable.
        Dataset<Row> numbered = hashed.withColumn(
                "occurrence", row_number().over(Window.partitionBy("hash").orderBy(to_json(struct(col("keep"))))));
        return numbered.withColumn(
                "id",
                when(col("occurrence").equalTo(1), col("hash"))
                        .otherwise(
                                concat(col("hash"), lit("-"), col("occurrence").cast("string"))));
    }

    private static Column named(String name) {
        return col("`" + name.replace("`", "``") + "`");
    }

    private void require(String column, String who) {
        if (!names.contains(column)) {
            throw new IllegalArgumentException(
                    "Cannot use column '%s' of %s: the input has %s".formatted(column, who, names));
        }
    }

    private DataType type(String column) {
        return schema.apply(column).dataType();
    }

    private IllegalArgumentException wrongType(String column, String expected) {
        return new IllegalArgumentException("Cannot use column '%s': it has type %s, expected %s"
                .formatted(column, type(column).simpleString(), expected));
    }

    /** A column of text; bytes count as text where they are UTF-8. */
    private Column text(String column) {
        if (!names.contains(column)) {
            return lit(null).cast("string");
        }
        if (type(column) instanceof StringType) {
            return named(column);
        }
        if (type(column) instanceof BinaryType) {
            return named(column).cast("string");
        }
        throw wrongType(column, "string");
    }

    private Column fromTemplate(String text) {
        List<Column> parts = new ArrayList<>();
        Matcher place = PLACE.matcher(text);
        int last = 0;
        while (place.find()) {
            require(place.group(1), "--prompt-template");
            parts.add(lit(text.substring(last, place.start())));
            parts.add(named(place.group(1)).cast("string"));
            last = place.end();
        }
        parts.add(lit(text.substring(last)));
        // concat is null where a part is, and a null prompt is an error row.
        return concat(parts.toArray(new Column[0]));
    }

    private Column messages() {
        if (template != null || !names.contains("messages")) {
            return lit(null).cast("string");
        }
        if (type("messages") instanceof StringType) {
            return named("messages");
        }
        if (type("messages") instanceof ArrayType) {
            return to_json(named("messages"));
        }
        throw wrongType("messages", "array of struct with role and content, or such a list as JSON text");
    }

    private Column ids(String column) {
        if (template != null || !names.contains(column)) {
            return lit(null).cast("array<bigint>");
        }
        if (type(column) instanceof ArrayType list && list.elementType() instanceof IntegralType) {
            return named(column).cast("array<bigint>");
        }
        throw wrongType(column, "array of int");
    }

    private static boolean isListOf(DataType type, DataType element) {
        return type instanceof ArrayType list && list.elementType().equals(element);
    }

    private static boolean isIds(DataType type) {
        return type instanceof ArrayType list && list.elementType() instanceof IntegralType;
    }

    private Column choices() {
        if (names.contains("choices") && isListOf(type("choices"), DataTypes.StringType)) {
            return named("choices");
        }
        if (names.contains("continuation") && type("continuation") instanceof StringType) {
            return when(named("continuation").isNotNull(), expr("array(continuation)"));
        }
        return lit(null).cast("array<string>");
    }

    private Column choiceIds() {
        if (names.contains("choices") && !isListOf(type("choices"), DataTypes.StringType)) {
            if (type("choices") instanceof ArrayType list && isIds(list.elementType())) {
                return named("choices").cast("array<array<bigint>>");
            }
            throw wrongType("choices", "array of string, or array of array of int");
        }
        if (names.contains("continuation") && !(type("continuation") instanceof StringType)) {
            if (isIds(type("continuation"))) {
                return when(
                        named("continuation").isNotNull(),
                        expr("array(continuation)").cast("array<array<bigint>>"));
            }
            throw wrongType("continuation", "string, or array of int");
        }
        return lit(null).cast("array<array<bigint>>");
    }

    /** The row's own sampling parameters: every column that has the name of one. */
    private Column sampling() {
        return jsonOf(SamplingJson.NAMES);
    }

    /** Those of some columns that there are, as a JSON object; null where there is none. */
    private Column jsonOf(Collection<String> wanted) {
        Column[] own = Arrays.stream(schema.fieldNames())
                .filter(wanted::contains)
                .map(Prompts::named)
                .toArray(Column[]::new);
        return own.length == 0 ? lit(null).cast("string") : to_json(struct(own));
    }

    /** Why a row cannot be read, where Spark can tell. */
    private Column problem() {
        Column problem = lit(null).cast("string");
        if (names.contains("prompt") && template == null) {
            problem = when(expr("not is_valid_utf8(cast(prompt as string))"), lit("the prompt is not UTF-8"))
                    .otherwise(problem);
        }
        if (names.contains(CORRUPT)) {
            problem = when(
                            named(CORRUPT).isNotNull(),
                            concat(lit("the line cannot be read: "), substring(named(CORRUPT), 1, 200)))
                    .otherwise(problem);
        }
        return problem;
    }
}
