package io.nightmill.pipeline;

import com.esotericsoftware.kryo.Kryo;
import java.util.ArrayList;
import java.util.HashMap;
import org.apache.spark.serializer.KryoRegistrator;

/** Everything that our stages, and Spark on their behalf, put on the wire; {@code registrationRequired} holds us to it. */
public final class NightmillKryo implements KryoRegistrator {
    /** Spark's own messages that it does not register itself (seen with 4.0.1 and 4.2.0). */
    private static final String[] SPARK = {
        "org.apache.spark.sql.catalyst.expressions.GenericInternalRow",
        "org.apache.spark.sql.catalyst.expressions.GenericRow",
        "org.apache.spark.sql.catalyst.expressions.GenericRowWithSchema",
        "org.apache.spark.sql.catalyst.expressions.UnsafeRow",
        "org.apache.spark.unsafe.types.UTF8String",
        "org.apache.spark.util.io.ChunkedByteBuffer",
        "[Lorg.apache.spark.util.io.ChunkedByteBuffer;",
        "org.apache.spark.sql.execution.datasources.WriteTaskResult",
        "org.apache.spark.sql.execution.datasources.ExecutedWriteSummary",
        "org.apache.spark.sql.execution.datasources.BasicWriteTaskStats",
        "org.apache.spark.internal.io.FileCommitProtocol$TaskCommitMessage",
        "scala.collection.immutable.Set$EmptySet$",
        "org.apache.spark.sql.types.DataType",
        "[Lorg.apache.spark.sql.types.DataType;",
        "org.apache.spark.sql.types.ArrayType",
        "org.apache.spark.sql.types.ArrayType$",
        "org.apache.spark.sql.types.StructType",
        "org.apache.spark.sql.types.StructType$",
        "org.apache.spark.sql.types.StructField",
        "[Lorg.apache.spark.sql.types.StructField;",
        "org.apache.spark.sql.types.MapType",
        "org.apache.spark.sql.types.MapType$",
        "org.apache.spark.sql.types.DecimalType",
        "org.apache.spark.sql.types.DecimalType$",
        "org.apache.spark.sql.types.StringType",
        "org.apache.spark.sql.types.StringType$",
        "org.apache.spark.sql.types.NoConstraint$",
        "org.apache.spark.sql.types.LongType$",
        "org.apache.spark.sql.types.IntegerType$",
        "org.apache.spark.sql.types.ShortType$",
        "org.apache.spark.sql.types.ByteType$",
        "org.apache.spark.sql.types.DoubleType$",
        "org.apache.spark.sql.types.FloatType$",
        "org.apache.spark.sql.types.BooleanType$",
        "org.apache.spark.sql.types.BinaryType$",
        "org.apache.spark.sql.types.DateType$",
        "org.apache.spark.sql.types.TimestampType$",
        "org.apache.spark.sql.types.TimestampNTZType$",
        "org.apache.spark.sql.types.TimeType",
        "org.apache.spark.sql.types.VariantType$",
        "org.apache.spark.sql.types.NullType$",
        "org.apache.spark.sql.types.Metadata",
        "org.apache.spark.sql.types.Metadata$",
        "scala.collection.immutable.Map$EmptyMap$",
        "scala.reflect.ClassTag$GenericClassTag",
    };

    @Override
    public void registerClasses(Kryo kryo) {
        kryo.register(ArrowBatch.class, new ArrowBatchSerializer());
        kryo.register(ArrowBatch[].class);
        kryo.register(Place.class, new Place.Serializer());
        kryo.register(Kept.End.class, new RecordSerializer<>(Kept.End.class));
        kryo.register(ShardCost.class, new RecordSerializer<>(ShardCost.class));
        kryo.register(ShardCost[].class);
        kryo.register(Rejections.Found.class, new RecordSerializer<>(Rejections.Found.class));
        kryo.register(Rejections.Found[].class);
        for (Class<?> type : new Class<?>[] {
            byte[].class,
            byte[][].class,
            int[].class,
            long[].class,
            float[].class,
            double[].class,
            Object[].class,
            String[].class,
            ArrayList.class,
            HashMap.class,
            scala.Tuple2.class,
            scala.Tuple2[].class
        }) {
            kryo.register(type);
        }
        for (String name : SPARK) {
            try {
                kryo.register(Class.forName(name, false, Thread.currentThread().getContextClassLoader()));
            } catch (ClassNotFoundException e) {
                // Another Spark has another class in its place, or none; what it then sends will name itself.
                continue;
            }
        }
    }
}
