package io.nightmill.pipeline;

import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.encoders.ExpressionEncoder;
import org.apache.spark.sql.types.StructType;

/** Spark's own conversion between rows and its internal form, losing nothing of any type. */
final class Encoders {
    private Encoders() {}

    static ExpressionEncoder.Deserializer<Row> deserializer(StructType schema) {
        ExpressionEncoder<Row> encoder = ExpressionEncoder.apply(schema);
        return encoder.resolveAndBind(encoder.resolveAndBind$default$1(), encoder.resolveAndBind$default$2())
                .createDeserializer();
    }

    static ExpressionEncoder.Serializer<Row> serializer(StructType schema) {
        return ExpressionEncoder.apply(schema).createSerializer();
    }
}
