package io.nightmill.pipeline;

import java.util.concurrent.ConcurrentHashMap;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.spark.TaskContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One Arrow allocator per task, closed with it; Arrow itself then complains of any buffer that was not given back. */
final class TaskAllocator {
    private static final ConcurrentHashMap<Long, RootAllocator> ALLOCATORS = new ConcurrentHashMap<>();

    private static final Logger LOG = LoggerFactory.getLogger(TaskAllocator.class);

    private TaskAllocator() {}

    static BufferAllocator get() {
        TaskContext task = TaskContext.get();
        return ALLOCATORS.computeIfAbsent(task.taskAttemptId(), id -> {
            task.addTaskCompletionListener(context -> {
                RootAllocator allocator = ALLOCATORS.remove(id);
                if (allocator != null && (context.isFailed() || context.isInterrupted())) {
                    // Stopped in the middle of a batch; the executor's memory limit will tell if that adds up.
                    LOG.warn("Task {} stopped with {} bytes in Arrow buffers", id, allocator.getAllocatedMemory());
                } else if (allocator != null) {
                    allocator.close();
                }
            });
            return new RootAllocator();
        });
    }
}
