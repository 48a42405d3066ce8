package io.nightmill.pipeline;

import io.nightmill.engine.Completion.Failure;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.IntVector;
import org.apache.arrow.vector.VarBinaryVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.complex.ListVector;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.Schema;
import org.jspecify.annotations.Nullable;

/** {@link PlannedRow}s as an Arrow record batch: what travels between stages. Its buffers belong to the task's allocator. */
final class ArrowBatch implements AutoCloseable {
    private static final ArrowType INT = new ArrowType.Int(32, true);

    static final Schema SCHEMA = new Schema(List.of(
            nullable("id", ArrowType.Utf8.INSTANCE),
            list("prompt", nullable("item", INT)),
            list("continuations", list("item", nullable("item", INT))),
            list("characters", nullable("item", INT)),
            nullable("sampling", ArrowType.Utf8.INSTANCE),
            nullable("keep", ArrowType.Binary.INSTANCE),
            nullable("fingerprint", ArrowType.Utf8.INSTANCE),
            nullable("error_code", ArrowType.Utf8.INSTANCE),
            nullable("error_message", ArrowType.Utf8.INSTANCE)));

    private static Field nullable(String name, ArrowType type, Field... children) {
        return new Field(name, FieldType.nullable(type), List.of(children));
    }

    private static Field list(String name, Field item) {
        return nullable(name, ArrowType.List.INSTANCE, item);
    }

    private final VectorSchemaRoot root;

    ArrowBatch(VectorSchemaRoot root) {
        this.root = root;
    }

    static ArrowBatch of(List<PlannedRow> rows, BufferAllocator allocator) {
        VectorSchemaRoot root = VectorSchemaRoot.create(SCHEMA, allocator);
        for (int i = 0; i < rows.size(); i++) {
            PlannedRow row = rows.get(i);
            setText(root, "id", i, row.id());
            setInts((ListVector) root.getVector("prompt"), i, row.prompt());
            setContinuations((ListVector) root.getVector("continuations"), i, row.continuations());
            setInts((ListVector) root.getVector("characters"), i, row.characters());
            setText(root, "sampling", i, row.sampling());
            if (row.keep() != null) {
                ((VarBinaryVector) root.getVector("keep")).setSafe(i, row.keep());
            }
            setText(root, "fingerprint", i, row.fingerprint());
            Failure failure = row.failure();
            setText(
                    root,
                    "error_code",
                    i,
                    failure == null ? null : failure.code().name());
            setText(root, "error_message", i, failure == null ? null : failure.message());
        }
        root.setRowCount(rows.size());
        return new ArrowBatch(root);
    }

    private static void setText(VectorSchemaRoot root, String column, int i, @Nullable String text) {
        if (text != null) {
            ((VarCharVector) root.getVector(column)).setSafe(i, text.getBytes(StandardCharsets.UTF_8));
        }
    }

    private static void setInts(ListVector vector, int i, int[] values) {
        int at = vector.startNewValue(i);
        IntVector items = (IntVector) vector.getDataVector();
        for (int j = 0; j < values.length; j++) {
            items.setSafe(at + j, values[j]);
        }
        vector.endValue(i, values.length);
    }

    private static void setContinuations(ListVector vector, int i, List<int[]> lists) {
        int at = vector.startNewValue(i);
        ListVector items = (ListVector) vector.getDataVector();
        for (int j = 0; j < lists.size(); j++) {
            setInts(items, at + j, lists.get(j));
        }
        vector.endValue(i, lists.size());
    }

    VectorSchemaRoot root() {
        return root;
    }

    int size() {
        return root.getRowCount();
    }

    PlannedRow row(int i) {
        List<int[]> continuations = new ArrayList<>();
        ListVector outer = (ListVector) root.getVector("continuations");
        ListVector inner = (ListVector) outer.getDataVector();
        for (int j = outer.getElementStartIndex(i); j < outer.getElementEndIndex(i); j++) {
            continuations.add(ints(inner, j));
        }
        String code = text("error_code", i);
        String message = text("error_message", i);
        VarBinaryVector keep = (VarBinaryVector) root.getVector("keep");
        return new PlannedRow(
                String.valueOf(text("id", i)),
                ints((ListVector) root.getVector("prompt"), i),
                continuations,
                ints((ListVector) root.getVector("characters"), i),
                text("sampling", i),
                keep.isNull(i) ? null : keep.get(i),
                String.valueOf(text("fingerprint", i)),
                code == null ? null : new Failure(Failure.Code.valueOf(code), String.valueOf(message)));
    }

    private @Nullable String text(String column, int i) {
        VarCharVector vector = (VarCharVector) root.getVector(column);
        return vector.isNull(i) ? null : new String(vector.get(i), StandardCharsets.UTF_8);
    }

    private static int[] ints(ListVector vector, int i) {
        IntVector items = (IntVector) vector.getDataVector();
        int from = vector.getElementStartIndex(i);
        int[] values = new int[vector.getElementEndIndex(i) - from];
        for (int j = 0; j < values.length; j++) {
            values[j] = items.get(from + j);
        }
        return values;
    }

    @Override
    public void close() {
        root.close();
    }
}
